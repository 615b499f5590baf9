"""The index: what the archive holds. Imported inside `hozi.archive` only. Every table here holds patient data.

Texts are kept as they came (decoded, trimmed); columns that end in ``_key`` hold the form in which they are
matched: folded names (`core.dicom.names.fold`), normalised times (`core.dicom.times.time_key`).
``attributes`` holds the return-only elements of a level: ``{"GGGGEEEE": "value\\\\value"}``.
Columns that begin with ``patient_`` (of a `Study`) hold what its own objects say of the patient.
"""

from typing import Final

from django.db import models

#: Lets PostgreSQL find values by how they begin, whatever language it sorts in. Others do so anyway.
_BY_BEGINNING: Final = "varchar_pattern_ops"


def _name_groups(table: str, prefix: str) -> list[models.Index]:
    """Indexes of the groups of a name that most names do not have: only of those that are there."""
    return [
        models.Index(
            fields=[f"{prefix}name_{group}_key"],
            condition=models.Q(**{f"{prefix}name_{group}_key__gt": ""}),
            name=f"{table}_by_{group}",
            opclasses=[_BY_BEGINNING],
        )
        for group in ("ideographic", "phonetic")
    ]


class Patient(models.Model):
    """A person, as one issuer numbers them: identity is issuer + PatientID.

    A patient without ID is nobody else's: ``alone`` then holds the UID of the one study that it owns.
    Name, birth date, sex and the others are what the first objects said; each `Study` keeps what its own say.
    Holds patient data: number, name, birth date, sex and the other elements of the patient.
    """

    issuer = models.CharField(max_length=64)
    patient_id = models.CharField(max_length=256)
    alone = models.CharField(max_length=64, default="")
    name = models.CharField(max_length=512, default="")
    name_alphabetic_key = models.CharField(max_length=256, default="", db_index=True)
    name_ideographic_key = models.CharField(max_length=256, default="")
    name_phonetic_key = models.CharField(max_length=256, default="")
    birth_date = models.CharField(max_length=16, default="")
    sex = models.CharField(max_length=16, default="")
    attributes = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["issuer", "patient_id", "alone"], name="patient_identity")]
        indexes = [
            models.Index(fields=["patient_id"], name="patient_by_id", opclasses=[_BY_BEGINNING]),
            *_name_groups("patient", ""),
        ]

    def __str__(self) -> str:
        return f"patient {self.pk}"


class Study(models.Model):
    """A study; it belongs to one patient and to the facility (and department) whose device sent its first object.

    ``identity_removed``: every object that came says that the patient's identity was removed from it.
    Holds patient data: which examination was made when, for whom, and descriptions of it.
    """

    uid = models.CharField(max_length=64, unique=True)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="studies")
    patient_name = models.CharField(max_length=512, default="")
    patient_name_alphabetic_key = models.CharField(max_length=256, default="", db_index=True)
    patient_name_ideographic_key = models.CharField(max_length=256, default="")
    patient_name_phonetic_key = models.CharField(max_length=256, default="")
    patient_birth_date = models.CharField(max_length=16, default="")
    patient_sex = models.CharField(max_length=16, default="")
    patient_attributes = models.JSONField(default=dict)
    facility = models.CharField(max_length=16, db_index=True)
    department = models.CharField(max_length=16, default="")
    identity_removed = models.BooleanField(default=False)
    stamp = models.BigIntegerField(default=0, help_text="Another one after each correction (see `stamp`).")
    rejected = models.BooleanField(default=False, help_text="Holds what a `Rejection` hides: it is not there.")
    date = models.CharField(max_length=16, default="", db_index=True)
    time = models.CharField(max_length=16, default="")
    time_key = models.CharField(max_length=13, default="")
    accession_number = models.CharField(max_length=64, default="", db_index=True)
    study_id = models.CharField(max_length=64, default="")
    description = models.CharField(max_length=256, default="")
    referring = models.CharField(max_length=512, default="")
    referring_key = models.CharField(max_length=512, default="")
    series_count = models.PositiveIntegerField(default=0)
    instance_count = models.PositiveIntegerField(default=0)
    attributes = models.JSONField(default=dict)
    received_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        indexes = [
            *_name_groups("study", "patient_"),
            models.Index(fields=["identity_removed"], condition=models.Q(identity_removed=True), name="study_veiled"),
        ]

    def __str__(self) -> str:
        return self.uid


class NameWord(models.Model):
    """One word of the patient's name as a study has it, for fuzzy matching. Holds patient data: parts of names."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="name_words")
    word = models.CharField(max_length=64)
    sound = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "word"], name="name_word_once")]
        indexes = [
            models.Index(fields=["word"], name="name_word", opclasses=[_BY_BEGINNING]),
            models.Index(fields=["sound"], name="name_sound"),
        ]

    def __str__(self) -> str:
        return f"word of study {self.study_id}"


class Referral(models.Model):
    """One who referred a study, in the form in which they are recognised (`core.dicom.names.person`).

    Holds no patient data: names of physicians.
    """

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="referrals")
    name = models.CharField(max_length=256)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "study"], name="referral_once")]

    def __str__(self) -> str:
        return f"referral of study {self.study_id}"


class Series(models.Model):
    """A series of one study. Holds patient data: what was examined, and how."""

    uid = models.CharField(max_length=64, unique=True)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="series")
    modality = models.CharField(max_length=16, default="")
    number = models.BigIntegerField(null=True)
    instance_count = models.PositiveIntegerField(default=0)
    stamp = models.BigIntegerField(default=0, help_text="Another one when objects come or go (see `stamp`).")
    attributes = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["modality", "study"], name="series_of_modality")]

    def __str__(self) -> str:
        return self.uid


class Instance(models.Model):
    """One composite object (image, report, waveform ...). Holds patient data: its UID and description."""

    uid = models.CharField(max_length=64, unique=True)
    series = models.ForeignKey(Series, on_delete=models.PROTECT, related_name="instances")
    sop_class = models.CharField(max_length=64)
    number = models.BigIntegerField(null=True)
    attributes = models.JSONField(default=dict)
    received_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.uid


class StoredObject(models.Model):
    """Where the bytes of an instance are. ``sha256`` is that of the dataset, as it came, without file header.

    No patient data itself; the bytes at ``key`` are nothing else.
    """

    instance = models.OneToOneField(Instance, on_delete=models.PROTECT, related_name="stored")
    key = models.CharField(max_length=128, unique=True)
    sha256 = models.CharField(max_length=64)
    header_sha256 = models.CharField(max_length=64)
    dataset_offset = models.PositiveIntegerField()
    length = models.BigIntegerField(help_text="Bytes of the dataset.")
    transfer_syntax = models.CharField(max_length=64)

    def __str__(self) -> str:
        return self.key


class SequenceValue(models.Model):
    """One element of one item of a sequence that can be searched (RequestAttributesSequence ...).

    Holds patient data: numbers and descriptions of what was requested.
    """

    study = models.ForeignKey(Study, null=True, on_delete=models.CASCADE, related_name="sequence_values")
    series = models.ForeignKey(Series, null=True, on_delete=models.CASCADE, related_name="sequence_values")
    instance = models.ForeignKey(Instance, null=True, on_delete=models.CASCADE, related_name="sequence_values")
    sequence = models.CharField(max_length=8, help_text="Tag of the sequence, GGGGEEEE.")
    item = models.PositiveSmallIntegerField()
    element = models.CharField(max_length=8, help_text="Tag of the element, GGGGEEEE.")
    value = models.CharField(max_length=256)

    class Meta:
        indexes = [
            models.Index(
                fields=["sequence", "element", "value"],
                name="sequence_value",
                opclasses=["varchar_ops", "varchar_ops", _BY_BEGINNING],
            )
        ]

    def __str__(self) -> str:
        return f"{self.sequence}[{self.item}].{self.element}"


class ExceptionCase(models.Model):
    """Something about an object that a person must decide: the archive kept it and did not guess.

    With ``key``, the object itself lies in quarantine and is not part of the archive, unless it was taken in: then a
    `StoredObject` with the same key is. Without, it was stored and only needs a look. ``decision`` is the last one,
    also when it is open again.
    Holds patient data: UIDs, what people write in ``note``, and at ``key`` the object itself.
    """

    class Reason(models.TextChoices):
        SAME_UID_OTHER_CONTENT = "same-uid-other-content"
        STUDY_OF_OTHER_PATIENT = "study-of-other-patient"
        SERIES_OF_OTHER_STUDY = "series-of-other-study"
        CONTRADICTS_COMMAND = "contradicts-command"
        UNREADABLE = "unreadable"
        INVALID_IDENTIFIERS = "invalid-identifiers"
        INTERRUPTED = "interrupted"
        PATIENT_DIFFERS = "patient-differs"
        EXECUTABLE_PREAMBLE = "executable-preamble"
        STUDY_OF_OTHER_FACILITY = "study-of-other-facility"
        UNEXPLAINED = "unexplained"

    class State(models.TextChoices):
        OPEN = "open"
        RESOLVED = "resolved"

    reason = models.CharField(max_length=32, choices=Reason.choices)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    explanation = models.TextField(default="", help_text="For people; without patient data.")
    sop_class = models.CharField(max_length=64, default="")
    sop_instance_uid = models.CharField(max_length=64, default="")
    study_uid = models.CharField(max_length=64, default="")
    transfer_syntax = models.CharField(max_length=64, default="")
    key = models.CharField(max_length=128, default="")
    sha256 = models.CharField(max_length=64)
    dataset_offset = models.PositiveIntegerField(default=0)
    length = models.BigIntegerField(default=0)
    facility = models.CharField(max_length=16, default="")
    actor = models.CharField(max_length=128, default="")
    address = models.CharField(max_length=64, default="")
    count = models.PositiveIntegerField(default=1, help_text="How often the same content came for the same reason.")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    decision = models.CharField(max_length=24, default="")
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=128, default="")
    note = models.CharField(max_length=500, default="", help_text="Why it was decided so.")
    version = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["reason", "sha256", "sop_instance_uid"], name="exception_once")]
        indexes = [
            models.Index(fields=["state", "reason"], name="exception_open"),
            models.Index(fields=["study_uid"], condition=models.Q(state="open"), name="exception_of_study"),
        ]

    def __str__(self) -> str:
        return f"exception {self.pk}: {self.reason}"


class Correction(models.Model):
    """An overlay: what one patient's, study's, series' or instance's elements read on the way out.

    The stored bytes stay. ``level`` is that of ``uid`` (for a patient, its row id), or TAKEN: what an object reads
    instead that was taken in from quarantine, below all others. ``changes`` holds by tag the values
    as in the DICOM JSON model: ``{"GGGGEEEE": [...]}``; an empty list empties the element, null leaves it out.
    ``before`` holds what the index said of these elements (of a patient's: also in each of the studies), so that
    taking the correction back restores it.
    Holds patient data: names, numbers and dates, corrected ones and those before.
    """

    level = models.CharField(max_length=8)
    uid = models.CharField(max_length=64, db_index=True)
    changes = models.JSONField()
    before = models.JSONField(default=dict)
    reason = models.TextField()
    actor = models.CharField(max_length=128)
    made_at = models.DateTimeField()
    undone_at = models.DateTimeField(null=True)
    undone_by = models.CharField(max_length=128, default="")

    class Meta:
        indexes = [models.Index(fields=["level"], condition=models.Q(undone_at=None), name="correction_in_force")]

    def __str__(self) -> str:
        return f"correction {self.pk} of {self.level} {self.uid}"


class Rejection(models.Model):
    """Something that is not shown, found or given any more, at any door, until that is taken back.

    Nothing is deleted: rows are put aside. ``hidden`` is a `Study` with ``rejected``: the rejected one itself, or one
    made to hold the series or the object of a study that stays. Studies and series that are put aside have invented
    UIDs; ``names`` holds the real one of each such series by row id, ``study_uid`` that of the study.
    Holds patient data: UIDs, and what people write in ``reason``.
    """

    level = models.CharField(max_length=8)
    uid = models.CharField(max_length=64)
    study_uid = models.CharField(max_length=64, db_index=True)
    hidden = models.ForeignKey(Study, null=True, on_delete=models.SET_NULL, related_name="rejections")
    names = models.JSONField(default=dict)
    objects_count = models.PositiveIntegerField(default=0)
    whole = models.BooleanField(default=False, help_text="Nothing of the study was left.")
    reason = models.TextField()
    actor = models.CharField(max_length=128)
    made_at = models.DateTimeField()
    undone_at = models.DateTimeField(null=True)
    undone_by = models.CharField(max_length=128, default="")

    class Meta:
        indexes = [models.Index(fields=["-made_at"], condition=models.Q(undone_at=None), name="rejection_in_force")]

    def __str__(self) -> str:
        return f"rejection {self.pk} of {self.level} {self.uid}"


class SavedFilter(models.Model):
    """What one person looks for often, under a name of their own.

    Holds patient data: whatever they look for, perhaps a name or a number.
    """

    person = models.PositiveBigIntegerField()
    name = models.CharField(max_length=64)
    filters = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "name"], name="saved_filter_once")]

    def __str__(self) -> str:
        return f"saved filter {self.pk}"


class Commitment(models.Model):
    """A storage commitment that a device asked for, and what it was told (PS3.4 Annex J).

    Holds patient data: UIDs of images.
    """

    transaction_uid = models.CharField(max_length=64)
    device = models.CharField(max_length=64)
    address = models.CharField(max_length=64, default="", help_text="Where the request came from.")
    references = models.JSONField(help_text="[[SOP class UID, SOP instance UID], ...] as requested.")
    failures = models.JSONField(default=dict, help_text="{SOP instance UID: failure reason} as reported.")
    asked_at = models.DateTimeField()
    reported_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["transaction_uid", "device"], name="commitment_once")]

    def __str__(self) -> str:
        return f"commitment {self.transaction_uid}"


class Upload(models.Model):
    """A file that somebody brought with a browser, and what became of it: remembered for some days (`uploads.py`).

    Holds no patient data: numbers of rows, and a key that says nothing of the file's name.
    """

    person = models.BigIntegerField()
    key = models.CharField(max_length=32)
    length = models.BigIntegerField()
    counts = models.JSONField()
    whys = models.JSONField()
    studies = models.JSONField()
    done_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "key", "length"], name="upload_once")]

    def __str__(self) -> str:
        return f"upload {self.pk}"
