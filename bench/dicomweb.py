"""What DICOMweb costs: QIDO-RS, WADO-RS and STOW-RS, each the same requests to Hozi and to its peer, in turn."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench import images, web
from bench.ground import Broken, Ground
from bench.images import Series, write_series
from bench.pairs import interleaved
from bench.report import Measured
from bench.web import CONNECTIONS, JSON, STUDIES_OF_ONE_DAY, Side, count_of, one_day

FRAMES: Final = 'multipart/related; type="application/octet-stream"'
INSTANCES: Final = 'multipart/related; type="application/dicom"'
JPEG: Final = "image/jpeg"
_BOUNDARY: Final = "a-boundary-of-the-benchmark"
_MOST_RESTARTS: Final = 5
_FRAME: Final = 512 * 512 * 2
_MB: Final = 1e6

Rate = Callable[[Side], float]


@contextmanager
def _nothing(run: int) -> Iterator[None]:
    yield


def _in_turn(ground: Ground, rate: Rate) -> Measured:
    """The same work on both sides, in turn."""
    both = web.pair(ground)
    return interleaved(ground.sizes, _nothing, lambda _: rate(both.ours), lambda _: rate(both.peer))


def _shared(requests: list[Any], connections: int = CONNECTIONS) -> list[list[Any]]:
    """The requests, dealt out to so many connections."""
    return [requests[number::connections] for number in range(connections)]


def _per_second(told: dict[str, Any]) -> float:
    return float(told["requests"] / told["seconds"])


def qido(ground: Ground) -> list[Measured]:
    """Answers a second: one study by PatientID, each time another patient; and the studies of one day."""
    both = web.pair(ground)
    luck = random.Random(ground.seed)
    by_patient = [f"/studies?PatientID={patient}" for patient in both.patients]
    for side in (both.ours, both.peer):
        for path in by_patient:
            side.look(path, JSON, count_of(1))
        side.look(one_day(), JSON, count_of(STUDIES_OF_ONE_DAY))

    def patient(side: Side) -> float:
        asked = [side.request(luck.choice(by_patient), JSON) for _ in range(ground.sizes.asked)]
        return _per_second(side.load(_shared(asked), warm=True))

    def ten(side: Side) -> float:
        asked = [side.request(one_day(), JSON)] * ground.sizes.asked
        return _per_second(side.load(_shared(asked), warm=True))

    return [_in_turn(ground, patient), _in_turn(ground, ten)]


def _is_frame(body: bytes, kind: str) -> bool:
    return "multipart/related" in kind and _FRAME < len(body) < _FRAME + 4096


def frame(ground: Ground) -> list[Measured]:
    """Frames a second: the first one of one image, again and again."""
    both = web.pair(ground)
    path = f"{both.instances[0]}/frames/1"
    for side in (both.ours, both.peer):
        side.look(path, FRAMES, _is_frame)

    def rate(side: Side) -> float:
        asked = [side.request(path, FRAMES)] * ground.sizes.asked
        return _per_second(side.load(_shared(asked), warm=True))

    return [_in_turn(ground, rate)]


def frames(ground: Ground) -> list[Measured]:
    """Frames a second: those of a whole series one after the other, each in another file, on one connection."""
    both = web.pair(ground)
    paths = [f"{path}/frames/1" for path in both.instances]
    for side in (both.ours, both.peer):
        for path in (paths[0], paths[-1]):
            side.look(path, FRAMES, _is_frame)

    def rate(side: Side) -> float:
        right = side.request(paths[0], FRAMES)[1]
        asked = [(side.request(path, FRAMES)[0], right) for path in paths]
        return _per_second(side.load([asked]))

    return [_in_turn(ground, rate)]


def metadata(ground: Ground) -> list[Measured]:
    """The metadata of a series, answers a second: one request after a restart, one more, and over four connections."""
    both = web.pair(ground)
    path = f"{both.path}/metadata"
    for side in (both.ours, both.peer):
        side.look(path, JSON, count_of(both.series.count))
    cold, warm = Measured(), Measured()
    for run in range(min(ground.sizes.runs, _MOST_RESTARTS)):
        sides = ((both.ours, cold.ours, warm.ours), (both.peer, cold.peer, warm.peer))
        for side, first, second in sides if run % 2 else reversed(sides):
            side.again()
            asked = [side.request(path, JSON)]
            first.append(_per_second(side.load([asked])))
            second.append(_per_second(side.load([asked], warm=True)))

    def rate(side: Side) -> float:
        asked = [side.request(path, JSON)] * max(CONNECTIONS, ground.sizes.asked // 20)
        return _per_second(side.load(_shared(asked), warm=True))

    return [cold, warm, _in_turn(ground, rate)]


def series(ground: Ground) -> list[Measured]:
    """MB a second of a whole series in one answer."""
    both = web.pair(ground)
    least = both.series.count * _FRAME
    for side in (both.ours, both.peer):
        side.look(both.path, INSTANCES, lambda body, kind: "multipart/related" in kind and len(body) > least)

    def rate(side: Side) -> float:
        told = side.load([[side.request(both.path, INSTANCES)]])
        return float(told["bytes"] / told["seconds"] / _MB)

    return [_in_turn(ground, rate)]


def rendered(ground: Ground) -> list[Measured]:
    """JPEGs a second, none of which was asked for before: each with another window or of another image."""
    both = web.pair(ground)
    count = max(CONNECTIONS, ground.sizes.asked // 4)
    used = {id(side): 0 for side in (both.ours, both.peer)}

    def path(number: int) -> str:
        image = both.instances[number % both.series.count]
        return f"{image}/rendered?window={40 + number // both.series.count},{400 + number % 100},linear"

    for side in (both.ours, both.peer):
        side.look(path(0), JPEG, lambda body, kind: kind.startswith(JPEG) and body[:2] == b"\xff\xd8")

    def rate(side: Side) -> float:
        first = used[id(side)] + 1
        used[id(side)] += count
        asked = [(side.request(path(first + number), JPEG)[0], -1) for number in range(count)]
        told = side.load(_shared(asked))
        if told["bytes"] < count * 10_000:
            raise Broken(f"{side.archive.name}: pictures of less than 10 kB")
        return _per_second(told)

    return [_in_turn(ground, rate)]


def stow(ground: Ground) -> list[Measured]:
    """Images a second that one STOW-RS request brings in."""
    both = web.pair(ground)

    @contextmanager
    def prepare(run: int) -> Iterator[tuple[Series, Path]]:
        with ground.scratch() as folder:
            sent = write_series(
                folder / "series", images.ct(ground.seed), ground.sizes.series, ground.seed, "stow", run
            )
            yield sent, _body(sent, folder / "body")

    def rate(side: Side, sent: Series, body: Path) -> float:
        kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
        told = side.load([[side.post("/studies", kind, body)]])
        found = f"/studies/{sent.study}/instances"
        side.look(f"{found}?limit={2 * sent.count}", JSON, count_of(sent.count))
        return float(sent.count / told["seconds"])

    return [
        interleaved(
            ground.sizes,
            prepare,
            lambda work: rate(both.ours, *work),
            lambda work: rate(both.peer, *work),
        )
    ]


def _body(sent: Series, file: Path) -> Path:
    """The images as one body of a STOW-RS request."""
    with file.open("wb") as body:
        for image in sorted(sent.folder.iterdir()):
            body.write(f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode())
            body.write(image.read_bytes())
            body.write(b"\r\n")
        body.write(f"--{_BOUNDARY}--\r\n".encode())
    return file
