"""Numbers written as ranges, for example ``4-7,9``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def written(numbers: Iterable[int]) -> str:
    """The numbers, which must rise, as ranges."""
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans(numbers))


def spans(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of numbers without a gap; the numbers must rise."""
    first = last = None
    for number in numbers:
        if first is None or last is None:
            first = last = number
        elif number == last + 1:
            last = number
        else:
            yield first, last
            first = last = number
    if first is not None and last is not None:
        yield first, last


def read(text: str, most: int) -> list[int]:
    """The numbers that `written` wrote. Raises ValueError when it is none of its texts, or holds more than ``most``."""
    numbers: list[int] = []
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        start, end = int(first), int(last or first)
        if not 0 <= end - start < most - len(numbers) or (numbers and start <= numbers[-1]):
            raise ValueError("not a list of rising ranges")
        numbers.extend(range(start, end + 1))
    return numbers
