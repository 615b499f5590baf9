"""What an archive holds is found as before when a newer program brings its tables up to date."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

OLD = """
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

call_command("migrate", "archive", "0001_initial", verbosity=0)
tables = MigrationExecutor(connection).loader.project_state([("archive", "0001_initial")]).apps
patient = tables.get_model("archive", "Patient").objects.create(
    issuer="MAIN", patient_id="77", name="Banda^Chipo", name_alphabetic_key="banda^chipo", birth_date="19800418",
    sex="F", attributes={"00104000": "walks with a stick"},
)
tables.get_model("archive", "NameWord").objects.create(patient=patient, word="banda", sound="B530")
for uid in ("1.2.3", "1.2.4"):
    tables.get_model("archive", "Study").objects.create(
        uid=uid, patient=patient, facility="MAIN", received_at=timezone.now(), changed_at=timezone.now(),
        referring="Ncube^Sipho^^Dr",
    )
"""
NEW = """
import django
django.setup()
from django.core.management import call_command

call_command("migrate", verbosity=0)
from hozi.archive.models import NameWord, Study

for study in Study.objects.order_by("uid"):
    words = list(NameWord.objects.filter(study=study).values_list("word", "sound"))
    print(study.uid, study.patient_name, study.patient_name_alphabetic_key, study.patient_birth_date,
          study.patient_sex, study.patient_attributes, words)
"""


def run(script: str, url: str, home: Path) -> str:
    settings = {"DJANGO_SETTINGS_MODULE": "hozi.settings", "HOZI_DATABASE_URL": url, "HOZI_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | settings, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


REACHED = """
import django
django.setup()
from django.core.management import call_command

call_command("migrate", verbosity=0)
from hozi.accounts.authorise import Reach, Scope
from hozi.archive.models import Study
from hozi.archive.reach import studies

for scope in (
    Scope(referring=frozenset({"ncube^sipho"})), Scope(referring=frozenset({"moyo^tendai"})), Scope(facility="MAIN"),
    Scope(facility="MAIN", department="RAD"), Scope(deidentified=True),
):
    print(Study.objects.filter(studies(Reach((scope,)))).count())
"""


@pytest.mark.database
def test_studies_from_before_are_seen_by_their_referrers_and_not_by_who_sees_less_than_a_facility(
    empty_database: str, tmp_path: Path
) -> None:
    run(OLD, empty_database, tmp_path)
    assert run(REACHED, empty_database, tmp_path).split() == ["2", "0", "2", "0", "0"]


@pytest.mark.database
def test_studies_from_before_they_kept_it_say_of_their_patient_what_was_known(
    empty_database: str, tmp_path: Path
) -> None:
    run(OLD, empty_database, tmp_path)
    said = "Banda^Chipo banda^chipo 19800418 F {'00104000': 'walks with a stick'} [('banda', 'B530')]"
    assert run(NEW, empty_database, tmp_path).splitlines() == [f"1.2.3 {said}", f"1.2.4 {said}"]
