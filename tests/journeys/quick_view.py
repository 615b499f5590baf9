"""Quick view in a real browser, in front of a real server, with studies whose every pixel is known."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page

from tests.browser import Visitor
from tests.dicom_files import write

SIDE, SPACING, APART = 256, 0.5, 5.0
SLICES = 30
PATIENT = {"PatientName": "Chikomba^Rutendo", "PatientID": "E-0001"}
NOW, BEFORE = "1.2.826.94.1", "1.2.826.94.2"
LEFT, RIGHT = 48, 208
"""Columns between which the phantom's body lies: 80 mm."""


def value(number: int) -> int:
    """The HU of the heart in the slice with this number, the first one being 1."""
    return 10 * number - 100


def _slice(heart: int) -> bytes:
    """A body of ellipses (middle, half axes, HU), the heart in the middle of all."""
    down, across = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    pixels = np.full((SIDE, SIDE), -1000, np.int16)
    for column, row, wide, high, hounsfield in (
        (128, 128, (RIGHT - LEFT) / 2, 62, -90),
        (128, 128, (RIGHT - LEFT) / 2 - 5, 57, 30),
        (84, 124, 24, 40, -850),
        (172, 124, 24, 40, -850),
        (128, 174, 10, 9, 480),
        (128, 128, 28, 28, heart),
    ):
        pixels[((across - column) / wide) ** 2 + ((down - row) / high) ** 2 <= 1] = hounsfield
    return (pixels + 1024).astype("<u2").tobytes()


def _stack(folder: Path, study: str, count: int, apart: float, **more: Any) -> None:
    for number in range(1, count + 1):
        write(
            folder / f"{study}.{number}.dcm",
            **PATIENT,
            StudyInstanceUID=study,
            SeriesInstanceUID=f"{study}.1",
            SOPInstanceUID=f"{study}.1.{number}",
            SeriesNumber=1,
            InstanceNumber=number,
            SeriesDescription="Axial",
            FrameOfReferenceUID=f"{study}.9",
            ImagePositionPatient=[-64, -64, number * apart],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[SPACING, SPACING],
            Rows=SIDE,
            Columns=SIDE,
            BitsAllocated=16,
            BitsStored=12,
            HighBit=11,
            RescaleSlope=1,
            RescaleIntercept=-1024,
            WindowCenter=40,
            WindowWidth=400,
            PixelData=_slice(value(number)),
            **more,
        )


def studies(folder: Path) -> None:
    """A study of today with an axial stack, a sagittal image and a report; and one of two years ago, half as fine."""
    _stack(folder, NOW, SLICES, APART, StudyDate="20261102", StudyDescription="CHEST")
    _stack(folder, BEFORE, SLICES // 2, APART * 2, StudyDate="20241102", StudyDescription="CHEST BEFORE")
    more: dict[str, Any] = {**PATIENT, "StudyInstanceUID": NOW, "StudyDate": "20261102", "StudyDescription": "CHEST"}
    write(
        folder / "sagittal.dcm",
        **more,
        SeriesInstanceUID=f"{NOW}.2",
        SeriesNumber=2,
        InstanceNumber=1,
        SeriesDescription="Sagittal",
        FrameOfReferenceUID=f"{NOW}.9",
        ImagePositionPatient=[0, -64, 160],
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
        PixelSpacing=[SPACING, SPACING],
        Rows=SIDE,
        Columns=SIDE,
        BitsAllocated=16,
        BitsStored=12,
        HighBit=11,
        WindowCenter=1100,
        WindowWidth=400,
        PixelData=_slice(0),
    )
    write(
        folder / "report.dcm",
        **more,
        SeriesInstanceUID=f"{NOW}.3",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11",
        SeriesNumber=3,
        InstanceNumber=1,
        Modality="SR",
        SeriesDescription="Report",
        Rows=None,
        PixelData=None,
        ValueType="CONTAINER",
    )


class Viewer:
    """Somebody in front of Quick view."""

    def __init__(
        self, browser: Browser, url: str, state: Any = None, *, phone: bool = False, shots: Path | None = None
    ):
        self.visitor = Visitor(browser, url, phone=phone, shots=shots)
        if state is not None:
            self.visitor.context.add_cookies(state["cookies"])
        self.page.set_default_timeout(15_000)
        self.network = self.visitor.context.new_cdp_session(self.page)
        self.network.send("Network.enable")
        if phone:
            self.network.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 5})

    @property
    def page(self) -> Page:
        return self.visitor.page

    def open(self, study: int, state: str = "whole") -> None:
        """Opens a study and waits until its first image is there."""
        self.page.goto(f"{self.visitor.url}/view/{study}/", wait_until="domcontentloaded")
        self.wait(state)

    def wait(self, state: str = "whole", pane: int = 0) -> None:
        """Waits until the pane is in a state."""
        self.page.locator(".v-pane").nth(pane).and_(self.page.locator(f"[data-state={state}]")).wait_for()
        self.frame()

    def frame(self) -> None:
        """Until what was asked for has been drawn."""
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def until(self, holds: Callable[[], Any]) -> Any:
        """Waits until something holds."""
        end = time.monotonic() + 20
        while not (answer := holds()):
            assert time.monotonic() < end, "it did not happen"
            self.page.wait_for_timeout(30)
        return answer

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.frame()

    def box(self, pane: int = 0) -> dict[str, float]:
        box = self.page.locator(".v-pane").nth(pane).bounding_box()
        assert box is not None
        return dict(box)

    def at(self, column: float, row: float, pane: int = 0) -> tuple[float, float]:
        """Where a place of the image is on the screen, when all of it is to be seen and nothing is turned."""
        box = self.box(pane)
        scale = min(box["width"], box["height"]) / SIDE
        return (
            box["x"] + box["width"] / 2 + (column - SIDE / 2) * scale,
            box["y"] + box["height"] / 2 + (row - SIDE / 2) * scale,
        )

    def drag(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        mouse = self.page.mouse
        mouse.move(*begin)
        mouse.down()
        mouse.move(*end, steps=5)
        mouse.up()
        self.frame()

    def fingers(self, *steps: list[tuple[float, float]]) -> None:
        """Fingers on a touch screen: where they are put down, and where they go; then they are taken away."""
        for number, points in enumerate(steps):
            told = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(points)]
            kind = "touchMove" if number else "touchStart"
            self.network.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": told})
        self.network.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        self.frame()

    def grey(self, pane: int = 0, column: float = SIDE / 2, row: float = SIDE / 2) -> int:
        """The grey of the canvas where a place of the image is to be seen."""
        box, (x, y) = self.box(pane), self.at(column, row, pane)
        told = self.page.evaluate(
            "([pane, x, y]) => [...document.querySelectorAll('.v-pane')[pane].querySelector('canvas').getContext('2d')"
            ".getImageData(x * devicePixelRatio, y * devicePixelRatio, 1, 1).data]",
            [pane, x - box["x"], y - box["y"]],
        )
        assert told[0] == told[1] == told[2]
        return int(told[0])

    def corner(self, name: str, pane: int = 0) -> str:
        return self.page.locator(".v-pane").nth(pane).locator(f".v-{name}").inner_text()

    def place(self, pane: int = 0) -> tuple[int, int]:
        """Which image of how many is to be seen."""
        found = re.search(r"(\d+) / (\d+)", self.corner("bl", pane))
        assert found
        return int(found[1]), int(found[2])

    def window(self) -> tuple[float, float]:
        """Width and centre, as the corner says."""
        found = re.search(r"W (-?[\d.]+) L (-?[\d.]+)", self.corner("bl"))
        assert found
        return float(found[1]), float(found[2])

    def labels(self) -> list[str]:
        """What the measurements say."""
        return [
            " ".join(one.locator("tspan").all_text_contents())
            for one in self.page.locator(".v-measured .v-label").all()
        ]

    def link(self, kilobits: float = 0, milliseconds: float = 0, *, offline: bool = False) -> None:
        """How fast the browser's link is from now on; 0: as it is."""
        self.network.send(
            "Network.emulateNetworkConditions",
            {
                "offline": offline,
                "latency": milliseconds,
                "downloadThroughput": kilobits * 125 or -1,
                "uploadThroughput": kilobits * 125 or -1,
            },
        )


def through(hounsfield: float, width: float, center: float) -> int:
    """The grey of a value in a window (PS3.3 §C.11.2.1.2)."""
    return round(min(max((hounsfield - (center - 0.5)) / (width - 1) + 0.5, 0), 1) * 255)


def told(text: str) -> Any:
    """JSON that a command printed."""
    return json.loads(text)
