"""Indexes for the list of studies, and the filters that people keep."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('archive', '0004_reach')]

    operations = [
        migrations.AddIndex(
            'study',
            models.Index(fields=['identity_removed'], condition=models.Q(identity_removed=True), name='study_veiled'),
        ),
        migrations.AddIndex('series', models.Index(fields=['modality', 'study'], name='series_of_modality')),
        migrations.AddIndex(
            'exceptioncase',
            models.Index(fields=['study_uid'], condition=models.Q(state='open'), name='exception_of_study'),
        ),
        migrations.AddIndex(
            'correction',
            models.Index(fields=['level'], condition=models.Q(undone_at=None), name='correction_in_force'),
        ),
        migrations.CreateModel(
            name='SavedFilter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('person', models.PositiveBigIntegerField()),
                ('name', models.CharField(max_length=64)),
                ('filters', models.JSONField(default=dict)),
            ],
            options={'constraints': [models.UniqueConstraint(fields=('person', 'name'), name='saved_filter_once')]},
        ),
    ]
