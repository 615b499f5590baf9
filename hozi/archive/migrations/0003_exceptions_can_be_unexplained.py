from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('archive', '0002_studies_keep_what_they_say_of_the_patient')]

    operations = [
        migrations.AlterField(
            model_name='exceptioncase',
            name='reason',
            field=models.CharField(
                choices=[
                    ('same-uid-other-content', 'Same Uid Other Content'),
                    ('study-of-other-patient', 'Study Of Other Patient'),
                    ('series-of-other-study', 'Series Of Other Study'),
                    ('contradicts-command', 'Contradicts Command'),
                    ('unreadable', 'Unreadable'),
                    ('invalid-identifiers', 'Invalid Identifiers'),
                    ('interrupted', 'Interrupted'),
                    ('patient-differs', 'Patient Differs'),
                    ('executable-preamble', 'Executable Preamble'),
                    ('study-of-other-facility', 'Study Of Other Facility'),
                    ('unexplained', 'Unexplained'),
                ],
                max_length=32,
            ),
        ),
    ]
