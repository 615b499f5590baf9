"""Chromium, driven by Playwright: for tests and for the benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests.peers import program


@contextmanager
def chromium(*, webgl: bool = False) -> Iterator[Browser]:
    """Chromium without a screen, and without calls to anywhere else; ``webgl``: drawn by the processor."""
    drawn = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"] if webgl else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program("chromium"),
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update", *drawn],
        )
        try:
            yield browser
        finally:
            browser.close()
