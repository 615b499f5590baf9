"""People: who they are, what they may do and see, and for how long. `authorise.py` is the one rule for every door."""
