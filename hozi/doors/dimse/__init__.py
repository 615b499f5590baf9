"""The DICOM network door: `server` listens and admits, one module for each service answers."""
