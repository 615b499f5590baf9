"""Radiologists and radiographers may mark key images, where their role is still as it was delivered."""

from django.db import migrations

ROLES = ("radiologist", "radiographer", "pacs_admin")
PERMISSION = "studies.mark"


def allow(apps, schema_editor):
    for role in apps.get_model("accounts", "Role").objects.filter(key__in=ROLES, delivered=True):
        if PERMISSION not in role.permissions:
            role.permissions = sorted([*role.permissions, PERMISSION])
            role.save(update_fields=["permissions"])


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0003_where_people_work"),
    ]

    operations = [
        migrations.RunPython(allow, migrations.RunPython.noop),
    ]
