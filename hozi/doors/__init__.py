"""Protocols. A door translates, asks whether it is allowed, calls one function of a room, translates back."""
