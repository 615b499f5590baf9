"""A day of hospital work in a few minutes, and a watch on what must not grow: `python -m tests.soak`."""
