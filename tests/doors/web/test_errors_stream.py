"""What code writes to the server's own stream of errors may hold anything: the log has only that it was."""

from __future__ import annotations

from structlog.testing import capture_logs

from hozi.doors.http.bridge import ErrorStream


def test_what_is_written_there_is_counted_and_never_told() -> None:
    with capture_logs() as told:
        stream = ErrorStream()
        stream.writelines(["Chikomba^Rutendo", "\n"])
        stream.flush()
    [line] = told
    assert line["characters"] == len("Chikomba^Rutendo")
    assert "Rutendo" not in str(line)
