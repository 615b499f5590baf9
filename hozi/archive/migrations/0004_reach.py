"""What the reach of those who ask is measured by: department, whether identities were removed, and who referred.

Of studies that came before, no department is known, and not every object is known to be de-identified: both are left
open, which shows them to fewer people.
"""

import django.db.models.deletion
from django.db import migrations, models

from hozi.archive.facts import referrers

_TOGETHER = 2000


def _fill(apps, schema_editor):
    Study, Referral = apps.get_model('archive', 'Study'), apps.get_model('archive', 'Referral')
    rows = []
    for study, referring in Study.objects.exclude(referring='').values_list('pk', 'referring').iterator():
        rows += [Referral(study_id=study, name=name) for name in referrers(referring)]
        if len(rows) >= _TOGETHER:
            Referral.objects.bulk_create(rows)
            rows = []
    Referral.objects.bulk_create(rows)


class Migration(migrations.Migration):
    dependencies = [('archive', '0003_exceptions_can_be_unexplained')]

    operations = [
        migrations.AddField('study', 'department', models.CharField(default='', max_length=16)),
        migrations.AddField('study', 'identity_removed', models.BooleanField(default=False)),
        migrations.CreateModel(
            name='Referral',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=256)),
                ('study', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='referrals', to='archive.study')),
            ],
            options={'constraints': [models.UniqueConstraint(fields=('name', 'study'), name='referral_once')]},
        ),
        migrations.RunPython(_fill, elidable=True),
    ]
