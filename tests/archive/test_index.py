"""The index' promises under concurrency: constraints decide, nothing is overwritten, counts are right."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from hozi.archive import correct, index
from hozi.archive.exceptions import Reason
from hozi.archive.facts import Facts
from hozi.archive.index import Candidate, Finding, Index, Verdict
from hozi.archive.models import Correction, ExceptionCase, Instance, NameWord, Patient, Series, StoredObject, Study
from hozi.audit.models import Event
from hozi.audit.record import Code, Entry
from hozi.core.dicom.keys import tag_of
from hozi.core.dicom.scan import Scan

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

CT = "1.2.840.10008.5.1.4.1.1.2"


def candidate(sop: str, *, content: str = "", issuer: str = "MAIN", **elements: str) -> Candidate:
    """An object of Tendai Mukwindidza's one study, unless ``elements`` (by keyword) say otherwise."""
    told = {
        "SOPClassUID": CT,
        "SOPInstanceUID": sop,
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "PatientID": "0042",
        "PatientName": "Mukwindidza^Tendai",
        "PatientBirthDate": "19800418",
        "Modality": "CT",
        "InstanceNumber": "7",
        **elements,
    }
    values = {tag_of(keyword): value.encode() for keyword, value in told.items()}
    facts = Facts(Scan(values, {}, (), True, False, len(values), True), issuer=issuer, default_charset="")
    sha256 = hashlib.sha256((content or repr(sorted(told.items()))).encode()).hexdigest()

    def audit(verdict: Verdict) -> Entry:
        return Entry(Code.INSTANCES_TRANSFERRED, "C", "CT1", object_uid=sop, detail={"result": verdict.finding.value})

    def case(reason: Reason, explanation: str) -> ExceptionCase:
        return ExceptionCase(
            reason=reason, explanation=explanation, sop_instance_uid=sop, sha256=sha256, key=f"quarantine/{sop}"
        )

    return Candidate(
        facts,
        facts.instance_columns(),
        "MAIN",
        "",
        "1.2.840.10008.1.2.1",
        sha256,
        sha256,
        400,
        1000,
        f"k/{sha256}",
        lambda: None,
        audit,
        case,
    )


def add(*candidates: Candidate) -> list[Finding]:
    return [Index().add(one).finding for one in candidates]


def test_it_stores_an_object_with_its_series_study_and_patient() -> None:
    assert add(candidate("1.2.3.4.5")) == [Finding.STORED]
    instance = Instance.objects.select_related("series__study__patient", "stored").get()
    assert (instance.uid, instance.number, instance.sop_class) == ("1.2.3.4.5", 7, CT)
    assert (instance.series.modality, instance.series.instance_count) == ("CT", 1)
    assert (instance.series.study.series_count, instance.series.study.instance_count) == (1, 1)
    patient = instance.series.study.patient
    assert (patient.issuer, patient.patient_id, patient.name) == ("MAIN", "0042", "Mukwindidza^Tendai")
    assert patient.name_alphabetic_key == "mukwindidza^tendai"
    assert set(NameWord.objects.values_list("word", flat=True)) == {"mukwindidza", "tendai"}
    assert Event.objects.get().object_uid == "1.2.3.4.5"


def test_the_same_content_again_is_a_duplicate_and_other_content_a_conflict() -> None:
    assert add(candidate("1.5"), candidate("1.5"), candidate("1.5", content="other")) == [
        Finding.STORED,
        Finding.DUPLICATE,
        Finding.CONFLICT,
    ]
    assert StoredObject.objects.count() == 1
    assert Study.objects.get().instance_count == 1
    case = ExceptionCase.objects.get()
    assert (case.reason, case.sop_instance_uid) == (Reason.SAME_UID_OTHER_CONTENT, "1.5")
    assert Event.objects.count() == 3


def test_a_study_of_another_patient_leaves_no_row_behind() -> None:
    verdicts = add(candidate("1.5"), candidate("1.6", PatientID="0043", SeriesInstanceUID="1.2.3.9"))
    assert verdicts == [Finding.STORED, Finding.CONFLICT]
    assert ExceptionCase.objects.get().reason == Reason.STUDY_OF_OTHER_PATIENT
    assert Series.objects.count() == Patient.objects.count() == 1


def test_a_series_of_another_study_leaves_no_row_behind() -> None:
    verdicts = add(candidate("1.5"), candidate("1.6", StudyInstanceUID="1.2.9"))
    assert verdicts == [Finding.STORED, Finding.CONFLICT]
    assert ExceptionCase.objects.get().reason == Reason.SERIES_OF_OTHER_STUDY
    assert Study.objects.count() == 1


def test_an_object_that_moved_to_another_study_is_a_conflict_and_makes_no_study() -> None:
    other = candidate("1.5", StudyInstanceUID="1.2.9", SeriesInstanceUID="1.2.9.1")
    assert add(candidate("1.5"), other) == [Finding.STORED, Finding.CONFLICT]
    assert ExceptionCase.objects.get().reason == Reason.SAME_UID_OTHER_CONTENT
    assert Study.objects.count() == 1


def test_the_same_conflict_again_is_counted_not_kept_twice() -> None:
    other = candidate("1.5", content="other")
    add(candidate("1.5"), other, other, other)
    assert ExceptionCase.objects.get().count == 3


def test_the_same_number_of_two_issuers_is_two_patients() -> None:
    other = candidate("1.6", issuer="MPILO", StudyInstanceUID="1.9", SeriesInstanceUID="1.9.1")
    own = candidate("1.7", IssuerOfPatientID="PARIRENYATWA", StudyInstanceUID="1.8", SeriesInstanceUID="1.8.1")
    assert add(candidate("1.5"), other, own) == [Finding.STORED] * 3
    assert set(Patient.objects.values_list("issuer", flat=True)) == {"MAIN", "MPILO", "PARIRENYATWA"}


def test_patients_without_number_are_never_one_patient() -> None:
    first = candidate("1.5", PatientID="")
    second = candidate("1.6", PatientID="", StudyInstanceUID="1.9", SeriesInstanceUID="1.9.1")
    again = candidate("1.7", PatientID="")
    assert add(first, second, again) == [Finding.STORED] * 3
    assert Patient.objects.count() == 2


def test_a_known_number_with_another_name_is_stored_and_reported() -> None:
    other = candidate("1.6", PatientName="Chiedza^Rudo", StudyInstanceUID="1.9", SeriesInstanceUID="1.9.1")
    assert add(candidate("1.5"), other) == [Finding.STORED, Finding.STORED]
    case = ExceptionCase.objects.get()
    assert (case.reason, case.key) == (Reason.PATIENT_DIFFERS, "")
    assert Patient.objects.get().name == "Mukwindidza^Tendai"


def test_a_later_study_fills_what_the_first_left_open() -> None:
    first = candidate("1.5", PatientName="", PatientSex="")
    second = candidate("1.6", PatientSex="F", StudyInstanceUID="1.9", SeriesInstanceUID="1.9.1")
    add(first, second)
    patient = Patient.objects.get()
    assert (patient.name, patient.sex) == ("Mukwindidza^Tendai", "F")
    assert NameWord.objects.count() == 2
    assert not ExceptionCase.objects.exists()


def together(work: list[Callable[[], Any]]) -> list[Any]:
    """Runs every function in a thread of its own, all at the same moment."""
    results: list[Any] = [None] * len(work)
    gate = threading.Barrier(len(work))

    def run(position: int) -> None:
        gate.wait()
        try:
            results[position] = work[position]()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(position,)) for position in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with each commit of any thread."""
    made: list[str] = []
    commit = BaseDatabaseWrapper._commit  # type: ignore[attr-defined]

    def committed(self: BaseDatabaseWrapper) -> None:
        commit(self)
        made.append("commit")

    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", committed)
    return made


def test_who_comes_while_a_flush_lasts_is_committed_together(commits: list[str]) -> None:
    shared, flushed = Index(), threading.Event()
    first = dataclasses.replace(candidate("1.0"), durable=lambda: flushed.wait(60))

    def let_it_end_when_all_wait() -> None:
        while len(shared._queue) < 7:
            time.sleep(0.01)
        assert not Instance.objects.exists()  # nothing commits before the bytes are durable
        flushed.set()

    def later(n: int) -> Finding:
        while not shared._committing:  # until the first one is being committed
            time.sleep(0.01)
        return shared.add(candidate(f"1.{n}")).finding

    together([lambda: shared.add(first), let_it_end_when_all_wait, *(lambda n=n: later(n) for n in range(1, 8))])
    assert Instance.objects.count() == 8
    assert len(commits) == 1


def add_while_a_flush_lasts(others: list[Candidate]) -> list[Any]:
    """Lets these come while the flush of an object 1.0 lasts, which ends when all wait; what became of it and of each:
    a finding, or the database's error."""
    shared, flushed = Index(), threading.Event()

    def add(one: Candidate) -> Finding | str:
        while one is not first and not shared._committing:
            time.sleep(0.01)
        try:
            return shared.add(one).finding
        except OperationalError as error:
            return str(error)

    def let_it_end_when_all_wait() -> None:
        while len(shared._queue) < len(others):
            time.sleep(0.01)
        flushed.set()

    first = dataclasses.replace(candidate("1.0"), durable=lambda: flushed.wait(60))
    outcomes = together([let_it_end_when_all_wait, *(lambda one=one: add(one) for one in (first, *others))])
    return outcomes[1:]


def test_at_most_64_share_a_commit_and_the_rest_share_the_next(commits: list[str]) -> None:
    commits_before: list[int] = []
    others = [
        dataclasses.replace(candidate(f"1.{n}"), durable=lambda: commits_before.append(len(commits)))
        for n in range(1, 71)
    ]
    assert add_while_a_flush_lasts(others) == [Finding.STORED] * 71
    assert commits_before == [0] * 63 + [1] * 7
    assert len(commits) == 2
    assert Study.objects.get().instance_count == Instance.objects.count() == Event.objects.count() == 71


def deadlock() -> None:
    raise OperationalError("deadlock detected")


def end_of_the_connection() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.mark.parametrize("failure", [deadlock, end_of_the_connection], ids=lambda failure: failure.__name__)
def test_a_commit_that_the_database_undoes_is_tried_again_with_all_who_joined(
    failure: Callable[[], None], commits: list[str]
) -> None:
    if failure is end_of_the_connection and connection.vendor != "postgresql":
        pytest.skip("not meant for SQLite, which has no connection to lose")
    tries: list[int] = []

    def fails_at_first() -> None:
        tries.append(len(commits))
        if len(tries) == 1:
            failure()

    others = [candidate(f"1.{n}") for n in range(1, 6)]
    others[2] = dataclasses.replace(others[2], durable=fails_at_first)
    assert add_while_a_flush_lasts(others) == [Finding.STORED] * 6
    assert tries == [0, 0]
    assert len(commits) == 1  # nobody was committed without the others, nobody twice
    assert Study.objects.get().instance_count == Instance.objects.count() == Event.objects.count() == 6
    assert StoredObject.objects.count() == 6


def test_who_joined_is_committed_alone_when_the_database_takes_one_of_them_never() -> None:
    others = [candidate("1.1"), dataclasses.replace(candidate("1.2"), durable=deadlock), candidate("1.3")]
    outcomes = add_while_a_flush_lasts(others)
    assert outcomes == [Finding.STORED, Finding.STORED, "deadlock detected", Finding.STORED]
    assert sorted(Instance.objects.values_list("uid", flat=True)) == ["1.0", "1.1", "1.3"]
    assert Study.objects.get().instance_count == Event.objects.count() == 3


@pytest.mark.parametrize("latecomer", ["the same UID", "a flush that fails"])
def test_a_latecomer_that_cannot_share_a_commit_spoils_it_for_nobody(latecomer: str) -> None:
    def fails() -> None:
        raise OSError(errno.EIO, "input/output error")

    shared, flushed = Index(), threading.Event()
    first = dataclasses.replace(candidate("1.0"), durable=lambda: flushed.wait(60))
    if latecomer == "the same UID":
        late = candidate("1.0", content="other")
    else:
        late = dataclasses.replace(candidate("1.1"), durable=fails)
    outcomes: dict[str, Any] = {}

    def add(name: str, one: Candidate) -> None:
        while name != "first" and not shared._committing:
            time.sleep(0.01)
        try:
            outcomes[name] = shared.add(one).finding
        except OSError as error:
            outcomes[name] = error.errno

    def let_it_end_when_all_wait() -> None:
        while len(shared._queue) < 2:
            time.sleep(0.01)
        flushed.set()

    together(
        [
            lambda: add("first", first),
            lambda: add("late", late),
            lambda: add("another", candidate("1.2")),
            let_it_end_when_all_wait,
        ]
    )
    expected = Finding.CONFLICT if latecomer == "the same UID" else errno.EIO
    assert outcomes == {"first": Finding.STORED, "late": expected, "another": Finding.STORED}
    assert sorted(Instance.objects.values_list("uid", flat=True)) == ["1.0", "1.2"]


def test_what_cannot_be_made_durable_is_not_in_the_index_and_the_others_are() -> None:
    def fails() -> None:
        raise OSError(errno.EIO, "input/output error")

    bad, good = dataclasses.replace(candidate("1.6"), durable=fails), candidate("1.5")
    shared = Index()
    waiting = [index._Waiting(good), index._Waiting(bad)]
    shared._commit_each(waiting)
    assert waiting[0].verdict is not None
    assert isinstance(waiting[1].error, OSError)
    assert list(Instance.objects.values_list("uid", flat=True)) == ["1.5"]


def test_an_error_of_any_kind_reaches_whoever_caused_it_and_nobody_else() -> None:
    """Also one that no database raises; and nobody is left waiting."""

    def fails() -> None:
        raise OverflowError("a number that nobody thought of")

    shared, gate = Index(), threading.Event()
    first = dataclasses.replace(candidate("1.0"), durable=lambda: gate.wait(60))
    bad = dataclasses.replace(candidate("1.1"), durable=fails)
    outcomes: list[str] = []

    def add(one: Candidate) -> None:
        while one is not first and not shared._committing:
            time.sleep(0.01)
        try:
            outcomes.append(shared.add(one).finding.value)
        except OverflowError:
            outcomes.append("error")

    def open_when_all_wait() -> None:
        while len(shared._queue) < 4:
            time.sleep(0.01)
        gate.set()

    others = [candidate(f"1.{n}") for n in range(2, 5)]
    together([open_when_all_wait, *(lambda one=one: add(one) for one in (first, bad, *others))])
    assert sorted(outcomes) == ["error", *["stored"] * 4]
    assert Study.objects.get().instance_count == 4


def test_many_senders_at_once_share_transactions_and_all_counts_are_right() -> None:
    shared = Index()
    verdicts = together(
        [lambda n=n: [shared.add(candidate(f"1.{n}.{i}")).finding for i in range(5)] for n in range(1, 9)]
    )
    assert verdicts == [[Finding.STORED] * 5] * 8
    assert Study.objects.get().instance_count == Series.objects.get().instance_count == 40
    assert Patient.objects.count() == 1


def test_two_indexes_as_in_two_processes_make_one_patient_study_and_series() -> None:
    indexes = [Index() for _ in range(4)]
    verdicts = together([lambda n=n: [indexes[n].add(candidate(f"1.{i}")).finding for i in range(6)] for n in range(4)])
    everything = [finding for each in verdicts for finding in each]
    assert everything.count(Finding.STORED) == 6
    assert everything.count(Finding.DUPLICATE) == 18
    assert (Patient.objects.count(), Study.objects.count(), Series.objects.count()) == (1, 1, 1)
    assert Study.objects.get().instance_count == 6


def test_one_bad_row_does_not_take_the_others_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = index._Waiting(candidate("1.5")), index._Waiting(candidate("1.6", Modality="X" * 16))
    object.__setattr__(bad.candidate, "key", good.candidate.key)  # violates the key's uniqueness
    shared = Index()
    shared._commit_each([good, bad])
    assert good.verdict is not None
    assert good.verdict.finding is Finding.STORED
    assert bad.error is not None
    assert Instance.objects.count() == 1


@pytest.mark.parametrize("first", ["correction", "study"])
def test_a_correction_and_a_new_study_of_the_patient_do_not_miss_each_other(first: str) -> None:
    """Whichever transaction begins first, and however the other one meets it: all studies read as corrected."""
    Index().add(candidate("1.1"))
    begun = threading.Event()

    def linger() -> None:
        begun.set()
        time.sleep(0.5)

    def store() -> None:
        one = candidate("1.2", StudyInstanceUID="1.2.9", SeriesInstanceUID="1.2.9.1", PatientName="Dube^Themba")
        if first == "study":
            one = dataclasses.replace(one, durable=linger)
        else:
            begun.wait(60)
        Index().add(one)

    def edit() -> None:
        if first == "study":
            begun.wait(60)
        with transaction.atomic():
            name = {tag_of("PatientName"): ["Moyo^Tariro"]}
            correct.edit("PATIENT", str(Patient.objects.get().pk), name, reason="typing error", actor="rutendo")
            if first == "correction":
                linger()

    together([store, edit])
    assert list(Study.objects.values_list("patient_name", flat=True)) == ["Moyo^Tariro"] * 2
    correct.undo(Correction.objects.get().pk, actor="rutendo")
    assert set(Study.objects.values_list("patient_name", flat=True)) == {"Mukwindidza^Tendai", "Dube^Themba"}


def test_what_a_study_tells_of_somebody_else_under_the_same_number_fills_no_gap() -> None:
    other = {
        "StudyInstanceUID": "1.2.9",
        "SeriesInstanceUID": "1.2.9.1",
        "PatientName": "Dube^Themba",
        "PatientSex": "M",
    }
    add(candidate("1.1", PatientBirthDate=""), candidate("1.2", PatientBirthDate="19990101", **other))
    patient = Patient.objects.get()
    assert (patient.name, patient.birth_date, patient.sex) == ("Mukwindidza^Tendai", "", "")
    assert Study.objects.get(uid="1.2.9").patient_birth_date == "19990101"
