"""The one facility that every new archive begins with; hospitals with several add theirs beside it."""

from django.db import migrations


def create(apps, schema_editor):
    apps.get_model("facilities", "Facility").objects.get_or_create(
        code="MAIN", defaults={"name": "Main facility", "issuer": "MAIN"}
    )


class Migration(migrations.Migration):

    dependencies = [
        ("facilities", "0001_initial"),
    ]

    operations = [
        # Going back leaves it where it is: devices may belong to it.
        migrations.RunPython(create, migrations.RunPython.noop),
    ]
