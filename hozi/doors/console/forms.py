"""Forms whose mistakes stand beside the field, be they found by the form or by the room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django import forms

from hozi.core.errors import NotThere, Refused

Result = TypeVar("Result")


class Form(forms.Form):
    """A form of the console. What was typed stays in it, whatever is refused."""

    template_name = "console/form.html"
    use_required_attribute = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)

    def take(self, act: Callable[..., Result], **more: Any) -> Result | None:
        """Does ``act`` with what was typed (and ``more``) as arguments by name; None when something was wrong.

        A `Refused` of the room stands beside the field that it names, else above the form. What is not there at all
        (`NotThere` without a field) stays an error: the page is not there either.
        """
        if not self.is_valid():
            return None
        try:
            return act(**self.cleaned_data, **more)
        except Refused as refused:
            if isinstance(refused, NotThere) and not refused.field:
                raise
            self.refuse(refused)
            return None

    def refuse(self, refused: Refused) -> None:
        """Shows what a room refused."""
        self.add_error(refused.field if refused.field in self.fields else None, str(refused))
