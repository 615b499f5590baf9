from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("audit", "0004_marks")]

    operations = [
        migrations.RemoveIndex(model_name="event", name="audit_failed"),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["at"], name="audit_failed", condition=models.Q(outcome__gt=0)),
        ),
    ]
