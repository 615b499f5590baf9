"""Files for browsers: compressed, named by what is in them, so that a browser asks for each once only.

`hozi assets` collects them. In a checkout where that has not been done, the pages work with the plain files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage

_IMPORTS = CompressedManifestStaticFilesStorage._js_module_import_aggregation_patterns
"""How modules name one another (of Django's own: the files, and what is looked for in them)."""


def collected() -> bool:
    """Whether `hozi assets` has been run here."""
    return Path(settings.STATIC_ROOT, str(Storage.manifest_name)).is_file()


class Storage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Names with a hash in them where files were collected; plain names where they were not.

    A file that is not among the collected ones (collected for an earlier version, say) keeps its plain name: a page
    without its looks is of more use than an error. Modules of Quick view name one another by these names, too.
    """

    patterns = (*CompressedManifestStaticFilesStorage.patterns, ("viewer/*.js", _IMPORTS[1]))

    def stored_name(self, name: str) -> str:
        """The name under which browsers find the file."""
        return str(super().stored_name(name)) if self.hash_key(self.clean_name(name)) in self.hashed_files else name


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Answers /static/ from the collected files; or, when nothing was collected, from where they come from."""

    def __init__(self, get_response: Any = None) -> None:
        self._collected = collected()
        super().__init__(get_response)
        if not self._collected and not self.use_finders:
            self.add_files_from_finders()

    def add_files(self, root: Any, prefix: str | None = None) -> None:
        """WhiteNoise's own, but quiet about a folder that was not collected yet."""
        if self._collected:
            super().add_files(root, prefix)
