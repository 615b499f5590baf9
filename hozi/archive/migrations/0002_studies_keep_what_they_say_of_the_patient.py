"""Each study keeps what its own objects say of the patient; until now, that of the number's first study was shown."""

import django.db.models.deletion
from django.db import migrations, models

_COPIED = ('name', 'name_alphabetic_key', 'name_ideographic_key', 'name_phonetic_key', 'birth_date', 'sex', 'attributes')


def _copy(apps, schema_editor):
    """What is known of the patient is what all studies showed so far; words of names follow."""
    Patient, Study = apps.get_model('archive', 'Patient'), apps.get_model('archive', 'Study')
    OldWord, Word = apps.get_model('archive', 'PatientWord'), apps.get_model('archive', 'NameWord')
    for patient in Patient.objects.all().iterator():
        studies = Study.objects.filter(patient=patient)
        studies.update(**{f'patient_{name}': getattr(patient, name) for name in _COPIED})
        words = list(OldWord.objects.filter(patient=patient).values('word', 'sound'))
        Word.objects.bulk_create(Word(study=study, **word) for study in studies for word in words)


def _name_groups(table, prefix):
    return [
        migrations.AddIndex(
            model_name=table,
            index=models.Index(
                fields=[f'{prefix}name_{group}_key'],
                condition=models.Q(**{f'{prefix}name_{group}_key__gt': ''}),
                name=f'{table}_by_{group}',
                opclasses=['varchar_pattern_ops'],
            ),
        )
        for group in ('ideographic', 'phonetic')
    ]


class Migration(migrations.Migration):
    dependencies = [('archive', '0001_initial')]

    operations = [
        migrations.AddField('study', 'patient_name', models.CharField(default='', max_length=512)),
        migrations.AddField('study', 'patient_name_alphabetic_key', models.CharField(db_index=True, default='', max_length=256)),
        migrations.AddField('study', 'patient_name_ideographic_key', models.CharField(default='', max_length=256)),
        migrations.AddField('study', 'patient_name_phonetic_key', models.CharField(default='', max_length=256)),
        migrations.AddField('study', 'patient_birth_date', models.CharField(default='', max_length=16)),
        migrations.AddField('study', 'patient_sex', models.CharField(default='', max_length=16)),
        migrations.AddField('study', 'patient_attributes', models.JSONField(default=dict)),
        migrations.RemoveConstraint('nameword', 'name_word_once'),
        migrations.RemoveIndex('nameword', 'name_word'),
        migrations.RemoveIndex('nameword', 'name_sound'),
        migrations.RenameModel('NameWord', 'PatientWord'),
        migrations.AlterField(
            'patientword',
            'patient',
            models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='archive.patient'),
        ),
        migrations.CreateModel(
            name='NameWord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('word', models.CharField(max_length=64)),
                ('sound', models.CharField(max_length=64)),
                ('study', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='name_words', to='archive.study')),
            ],
            options={
                'indexes': [
                    models.Index(fields=['word'], name='name_word', opclasses=['varchar_pattern_ops']),
                    models.Index(fields=['sound'], name='name_sound'),
                ],
                'constraints': [models.UniqueConstraint(fields=('study', 'word'), name='name_word_once')],
            },
        ),
        migrations.RunPython(_copy, elidable=True),
        migrations.DeleteModel('PatientWord'),
        migrations.RemoveIndex('patient', 'patient_by_id'),
        migrations.AddIndex('patient', models.Index(fields=['patient_id'], name='patient_by_id', opclasses=['varchar_pattern_ops'])),
        *_name_groups('patient', ''),
        *_name_groups('study', 'patient_'),
        migrations.RemoveIndex('sequencevalue', 'sequence_value'),
        migrations.AddIndex(
            'sequencevalue',
            models.Index(
                fields=['sequence', 'element', 'value'],
                name='sequence_value',
                opclasses=['varchar_ops', 'varchar_ops', 'varchar_pattern_ops'],
            ),
        ),
    ]
