"""Images can be rejected: nothing is yet."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("archive", "0009_uploads")]

    operations = [
        migrations.AddField(
            model_name="study",
            name="rejected",
            field=models.BooleanField(
                default=False, help_text="Holds what a `Rejection` hides: it is not there."
            ),
        ),
        migrations.CreateModel(
            name="Rejection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("level", models.CharField(max_length=8)),
                ("uid", models.CharField(max_length=64)),
                ("study_uid", models.CharField(db_index=True, max_length=64)),
                ("names", models.JSONField(default=dict)),
                ("objects_count", models.PositiveIntegerField(default=0)),
                ("whole", models.BooleanField(default=False, help_text="Nothing of the study was left.")),
                ("reason", models.TextField()),
                ("actor", models.CharField(max_length=128)),
                ("made_at", models.DateTimeField()),
                ("undone_at", models.DateTimeField(null=True)),
                ("undone_by", models.CharField(default="", max_length=128)),
                (
                    "hidden",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="rejections",
                        to="archive.study",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("undone_at", None)), fields=["-made_at"], name="rejection_in_force"
                    )
                ],
            },
        ),
    ]
