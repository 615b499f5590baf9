"""Hospitals, and the devices that may talk to the archive."""
