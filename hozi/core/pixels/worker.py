"""A process that decodes, and may be killed at any time: ``python -m hozi.core.pixels.worker MEMORY_BYTES SECONDS``.

It reads requests from standard input and answers on standard output, each a 32-bit length and that much JSON; the
bytes of a picture follow their answer. It ends
when its input does, even in the middle of its work: so no worker outlives who asked it, however that ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from hozi.core.dicom import syntaxes
from hozi.core.errors import Unreadable

LENGTH: Final = struct.Struct("<I")


def send(stream: BinaryIO, message: dict[str, Any], result: bytes = b"") -> None:
    """Writes one message, and behind it the bytes that its entry ``bytes`` counts."""
    data = json.dumps(message).encode()
    stream.write(LENGTH.pack(len(data)) + data)
    if result:
        stream.write(result)
    stream.flush()


def receive(stream: BinaryIO) -> dict[str, Any] | None:
    """Reads one message; None at the end of the stream."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    data = stream.read(*LENGTH.unpack(head))
    message: dict[str, Any] = json.loads(data)
    return message


def _work(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The answer, and the bytes that come behind it."""
    try:
        result = _done(request)
    except Unreadable as error:
        from hozi.core.pixels.samples import NoFrame

        return {"error": str(error), "no_frame": isinstance(error, NoFrame)}, b""
    except MemoryError:
        return {"error": "Decoding takes more memory than is allowed."}, b""
    except OSError as error:
        return {"error": f"A file cannot be read or written ({error.strerror})."}, b""
    return {"bytes": len(result)}, result


def _done(request: dict[str, Any]) -> bytes:
    """The bytes that were asked for; empty where they were written to a file."""
    from hozi.core.pixels import draw, frames, render, samples, wire  # heavy; who only talks to a worker goes without

    source, offset, syntax = Path(request["source"]), request["offset"], request["from"]
    if "look" in request:
        about = request.get("presentation")
        state = render.Stored(Path(about["source"]), about["offset"], about["from"]) if about else None
        return render.picture(render.Stored(source, offset, syntax), render.Wish.of(request["look"]), state)
    if "values" in request:
        with samples.opened(source, offset, syntax) as image:
            return wire.values(image, request["values"] - 1)
    if "frame" in request:
        with samples.opened(source, offset, syntax) as image:
            return wire.frame(image, request["frame"] - 1, request["to"])
    if "size" in request:
        result = draw.draw(source, offset, syntaxes.for_unknown(syntax), request["size"])
        if "target" not in request:
            return result
        Path(request["target"]).write_bytes(result)
        return b""
    with Path(request["target"]).open("wb") as file:
        frames.convert(source, offset, syntaxes.for_unknown(syntax), syntaxes.for_unknown(request["to"]), file)
    return b""


@contextlib.contextmanager
def _ended_with_input() -> Iterator[None]:
    """Has the system end the process when its input is closed meanwhile (SIGIO's default action).

    Nothing else comes on the input before the answer. A decoder that hangs does not keep a signal from ending it, as it
    would a thread. (Linux' PR_SET_PDEATHSIG would end workers when the *thread* that started them ends.)
    """
    flags = fcntl.fcntl(0, fcntl.F_GETFL)
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, flags | os.O_ASYNC)
    try:
        yield
    finally:
        fcntl.fcntl(0, fcntl.F_SETFL, flags)


def main() -> None:
    """Answers requests until there are no more."""
    memory, seconds = int(sys.argv[1]), float(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = sys.stdout.buffer
    # What a library prints must not get into the answers.
    with contextlib.redirect_stdout(sys.stderr):
        while (request := receive(sys.stdin.buffer)) is not None:
            # Hanging decoders are killed by who waits for them; this is for when nobody waits any more.
            used = resource.getrusage(resource.RUSAGE_SELF)
            limit = int(used.ru_utime + used.ru_stime + seconds) + 5
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
            with _ended_with_input():
                answer, result = _work(request)
            send(answers, answer, result)


if __name__ == "__main__":
    main()
