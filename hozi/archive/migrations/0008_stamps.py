"""Series and studies get stamps: of none of them is anything kept yet."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("archive", "0007_decisions")]

    operations = [
        migrations.AddField(
            model_name="study",
            name="stamp",
            field=models.BigIntegerField(default=0, help_text="Another one after each correction (see `stamp`)."),
        ),
        migrations.AddField(
            model_name="series",
            name="stamp",
            field=models.BigIntegerField(default=0, help_text="Another one when objects come or go (see `stamp`)."),
        ),
    ]
