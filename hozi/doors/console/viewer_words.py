"""What Quick view says: its buttons, its keys, and the words of its scripts, in the person's language."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _


@dataclass(frozen=True, slots=True)
class Button:
    """A button of the bar: it does ``act`` (``tool``: what dragging does from then on), or opens ``menu``."""

    label: str
    icon: str
    act: str = ""
    key: str = ""
    tool: bool = False
    menu: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Buttons that belong together."""

    label: str
    buttons: tuple[Button, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the help: keys, and what they do."""

    keys: tuple[str, ...]
    text: str


def buttons() -> list[Group]:
    """The bar, from left to right."""
    return [
        Group(
            _("Dragging"),
            (
                Button(_("Window: brightness and contrast"), "contrast", "window", "w", tool=True),
                Button(_("Leaf through the stack"), "stack-2", "scroll", "s", tool=True),
                Button(_("Zoom"), "zoom-in", "zoom", "z", tool=True),
                Button(_("Move"), "arrows-move", "pan", "m", tool=True),
                Button(_("Length"), "ruler-2", "length", "l", tool=True),
                Button(_("Angle"), "angle", "angle", "a", tool=True),
                Button(_("Ellipse: area, mean and deviation"), "oval", "ellipse", "e", tool=True),
                Button(_("Value at a point"), "crosshair", "probe", "p", tool=True),
                Button(_("Remove a measurement"), "eraser", "remove", "Del"),
            ),
        ),
        Group(
            _("Picture"),
            (
                Button(_("Windows to choose from"), "adjustments", menu="presets"),
                Button(_("Invert"), "brightness", "invert", "i"),
                Button(_("Rotate"), "rotate-clockwise", "rotate", "r"),
                Button(_("Mirror"), "flip-vertical", "flip", "f"),
                Button(_("Reset"), "refresh", "reset", "0"),
                Button(_("Play"), "player-play", "cine", "c"),
            ),
        ),
        Group(
            _("View"),
            (
                Button(_("Layout"), "layout-grid", menu="layouts"),
                Button(_("Earlier studies beside it"), "history", menu="priors"),
                Button(_("Mark as a key image"), "star", "mark", "k"),
                Button(_("Leaf through together"), "link", "link", "y"),
                Button(_("Full screen"), "maximize", "screen", "*"),
                Button(_("Keys and help"), "help", "help", "?"),
            ),
        ),
    ]


def keys() -> list[Line]:
    """The help's list."""
    return [
        Line(("↑", "↓"), _("image before, image behind")),
        Line(("PgUp", "PgDn"), _("ten images")),
        Line(("Home", "End"), _("first image, last image")),
        Line(("←", "→"), _("series before, series behind")),
        Line(("w", "s", "z", "m"), _("dragging: window, leaf, zoom, move")),
        Line(("l", "a", "e", "p"), _("length, angle, ellipse, value")),
        Line(("Enter", "↑↓←→"), _("measure without a pointer: set a point, go to the next")),
        Line(("Del",), _("remove a measurement")),
        Line(("1", "…", "9"), _("window of the list")),
        Line(("[", "]", "{", "}"), _("narrower, wider, lower, higher window")),
        Line(("+", "-"), _("larger, smaller")),
        Line(("Shift", "↑↓←→"), _("move the picture")),
        Line(("i", "r", "f"), _("invert, rotate, mirror")),
        Line(("o",), _("what lies over the picture: hide, show")),
        Line(("0",), _("reset")),
        Line(("c", "<", ">"), _("play, slower, faster")),
        Line(("k",), _("mark as a key image, or not")),
        Line(("n",), _("next pane")),
        Line(("y",), _("leaf through together, or apart")),
        Line(("Shift", _("wheel")), _("leaf through one pane alone")),
        Line(("*",), _("full screen")),
        Line(("?",), _("this help")),
    ]


def words() -> dict[str, str]:
    """Words of the scripts, by what they ask for. ``{name}`` stands for a value."""
    return {
        "ID": _("ID"),
        "born": _("born"),
        "sex": _("sex"),
        "W": _("W"),
        "L": _("L"),
        "at": _("at"),
        "thick": _("thick"),
        "to": _("to"),
        "mean": _("mean"),
        "SD": _("SD"),
        "pixels": _("pixels"),
        "square pixels": _("square pixels"),
        "counts": _("counts"),
        "uncalibrated": _("uncalibrated"),
        "at the detector": _("at the detector, larger than in the body"),
        "detector, magnification": _("by the stated magnification"),
        "nominal": _("nominal"),
        "mirrored": _("mirrored"),
        "inverted": _("inverted"),
        "left side": _("left"),
        "right side": _("right"),
        "stored lossy": _("compressed with loss before it came{ratio}"),
        "lossy": _("Lossy, not for diagnosis"),
        "loading": _("Loading…"),
        "no picture": _("no picture"),
        "picture {number}": _("Picture {number}"),
        "series": _("Series"),
        "study": _("Study"),
        "1 object": _("1 object"),
        "{count} objects": _("{count} objects"),
        "cannot be shown": _("This image cannot be shown."),
        "gone": _("It is not there any more, or not yours to see."),
        "unknown failure": _("It could not be read. The original can still be downloaded."),
        "no picture of it": _("There is no picture of this object."),
        "choose a series": _("Choose a series, or drag one here."),
        "film cannot be shown": _("This film cannot be played here."),
        "no film": _("This browser cannot play this film. It can be downloaded from the study's page."),
        "key image": _("★ key image"),
        "to be a key image": _("☆ marked, not saved"),
        "{count} marked": _("{count} marked as key images"),
        "marks saved": _("Saved as a key object selection."),
        "marks not saved": _("They could not be saved. Try again."),
        "its elements": _("What it says (its elements)"),
        "connection lost": _("Connection lost: what is here is shown. It goes on by itself."),
        "session over": _("You have been signed out. What is here is shown; sign in again to see more."),
        "plays at {rate}/s": _("plays at {rate}/s"),
        "of the image": _("of the image"),
        "fitted": _("Fitted"),
        "whole range": _("Whole range"),
        "no windows": _("This image has no windows to choose from."),
        "no earlier studies": _("No other studies of this patient that you may open."),
        "Soft tissue": _("Soft tissue"),
        "Lung": _("Lung"),
        "Bone": _("Bone"),
        "Brain": _("Brain"),
        "Mediastinum": _("Mediastinum"),
        "Liver": _("Liver"),
    }
