"""The errors that Hozi raises on purpose.

A door translates them into its protocol's words (a DIMSE status, an exit code); nothing else does.
The text of an error is for people, says what to do, and never holds patient data.
"""

from __future__ import annotations


class HoziError(Exception):
    """Something went wrong that Hozi can name.

    ``permanent`` says whether trying the same again can help: a full disk may be emptied
    (not permanent), a dataset that cannot be read stays unreadable (permanent).
    """

    permanent: bool = True


class Refused(HoziError):
    """The caller may not do this, or asked for something that does not exist.

    ``field`` names what was wrong (the name of the argument), where it is one thing: doors say it beside that field.
    """

    def __init__(self, *arguments: object, field: str = "") -> None:
        super().__init__(*arguments)
        self.field = field


class Changed(Refused):
    """Somebody else has changed it since the caller looked: nothing was overwritten; look again, then decide."""


class NotThere(Refused):
    """There is no such thing, or the caller may not see that there is: the two cannot be told apart."""


class Unreadable(HoziError):
    """Bytes that do not follow the format that they claim to follow, or that exceed a limit."""


class Unavailable(HoziError):
    """Not possible now, possible later: no room, no route, a database that does not answer."""

    permanent = False
