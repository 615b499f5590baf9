"""The roles that every archive begins with. A role of that key which is there already is left as it is."""

from django.db import migrations

from hozi.accounts.defaults import DEFAULT_ROLES


def create(apps, schema_editor):
    for role in DEFAULT_ROLES:
        apps.get_model("accounts", "Role").objects.get_or_create(
            key=role.key,
            defaults={
                "name": role.name,
                "description": role.description,
                "permissions": sorted(role.permissions),
                "own_referrals": role.own_referrals,
                "deidentified": role.deidentified,
                "needs_end": role.needs_end,
                "delivered": True,
            },
        )


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        # Going back leaves them: people may hold them.
        migrations.RunPython(create, migrations.RunPython.noop),
    ]
