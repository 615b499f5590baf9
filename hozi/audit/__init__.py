"""What was done, by whom, to whose data: append-only, one way in (`record.py`)."""
