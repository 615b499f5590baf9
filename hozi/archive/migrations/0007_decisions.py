"""Exceptions can be decided: by whom, when, how and why is in their rows."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('archive', '0006_browsing')]

    operations = [
        migrations.AddField('exceptioncase', 'decision', models.CharField(default='', max_length=24)),
        migrations.AddField('exceptioncase', 'decided_at', models.DateTimeField(null=True)),
        migrations.AddField('exceptioncase', 'decided_by', models.CharField(default='', max_length=128)),
        migrations.AddField(
            'exceptioncase', 'note',
            models.CharField(default='', help_text='Why it was decided so.', max_length=500),
        ),
        migrations.AddField('exceptioncase', 'version', models.PositiveIntegerField(default=1)),
    ]
