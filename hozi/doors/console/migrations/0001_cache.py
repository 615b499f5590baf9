"""The table in which failed sign-ins are counted, for all processes and nodes together (Django's database cache)."""

from django.core.management import call_command
from django.db import migrations


def create(apps, schema_editor):
    call_command("createcachetable", "console_cache", database=schema_editor.connection.alias)


class Migration(migrations.Migration):

    dependencies = []

    operations = [
        migrations.RunPython(create, migrations.RunPython.noop),
    ]
