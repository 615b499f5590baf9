"""The tables: migrations make what the models say, and each model says what patient data it holds."""

from __future__ import annotations

from django.apps import apps
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState


def _missing_migrations(made: ProjectState) -> list[str]:
    """What a new migration would do on top of the tables that were made so far."""
    changes = MigrationAutodetector(made, ProjectState.from_apps(apps)).changes(graph=MigrationLoader(None).graph)
    return [operation.describe() for steps in changes.values() for step in steps for operation in step.operations]


def test_the_migrations_make_the_tables_that_the_models_describe() -> None:
    assert not _missing_migrations(MigrationLoader(None).project_state()), "see docs/develop/testing.md"


def test_a_model_without_a_migration_is_found() -> None:
    made = MigrationLoader(None).project_state()
    made.remove_field("facilities", "device", "port")
    assert "Add field port to device" in _missing_migrations(made)


def _speaks_of_patient_data(model: type) -> bool:
    return "patient data" in " ".join((model.__doc__ or "").split()).lower()


def test_every_model_says_what_patient_data_it_holds() -> None:
    ours = [model for model in apps.get_models() if model.__module__.startswith("hozi.")]
    silent = [model.__qualname__ for model in ours if not _speaks_of_patient_data(model)]
    assert not silent, "these docstrings do not say whether the table holds patient data: " + ", ".join(silent)


def test_a_model_that_does_not_speak_of_patient_data_is_found() -> None:
    class Silent:
        """Keeps things."""

    class Honest:
        """Keeps things. No patient data."""

    class Undocumented:
        pass

    assert [_speaks_of_patient_data(model) for model in (Silent, Honest, Undocumented)] == [False, True, False]
