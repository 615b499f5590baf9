"""Marks the rows that earlier versions wrote, as they are found, and begins the chain."""

import os

from django.db import connection, migrations

from hozi.audit import chain, key, mark, raw

_AT_ONCE = 1000


def _begin(apps, schema_editor):
    Event = apps.get_model("audit", "Event")
    last = 0
    while rows := raw.read(Event, "id > %s ORDER BY id LIMIT %s", [last, _AT_ONCE]):
        values = []
        for number, texts, _ in rows:
            detail = mark.detail_again(texts["detail"])
            kind = str(mark.json.loads(detail).get("type") or "")[:16]
            texts = {**texts, "type": kind, "detail": detail}
            marked = mark.mark(key.key(), os.urandom(mark.SALT_BYTES), [texts[name] for name in mark.COLUMNS])
            values.append((kind, detail, marked, number))
        with connection.cursor() as cursor:
            cursor.executemany("UPDATE audit_event SET type = %s, detail = %s, mark = %s WHERE id = %s", values)
        last = rows[-1][0]
    chain.begin(apps.get_model("audit", "Head"))


class Migration(migrations.Migration):

    dependencies = [("audit", "0003_chain")]

    operations = [migrations.RunPython(_begin, migrations.RunPython.noop)]
