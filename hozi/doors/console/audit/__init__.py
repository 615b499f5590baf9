"""The pages of the audit: search it, see one row of it, who saw a patient, reports, and whether it is whole."""
