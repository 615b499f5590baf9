"""A real browser (Chromium, driven by Playwright) in front of a real `hozi serve`, for journeys through the console."""

from __future__ import annotations

import time
from pathlib import Path

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Browser, Page

from tests.chromium import chromium
from tests.guards.rules import ROOT

__all__ = ["Visitor", "chromium"]

SIZE = {"width": 1366, "height": 768}
PHONE = {"width": 390, "height": 844}
_STEP = 30
_AXE = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"


class Visitor:
    """Somebody at a browser of their own. What the browser complains about (`complaints`) fails the journey."""

    def __init__(self, browser: Browser, url: str, *, phone: bool = False, shots: Path | None = None) -> None:
        self.context = browser.new_context(viewport=PHONE if phone else SIZE, locale="en-GB")
        self.page: Page = self.context.new_page()
        self.url = url.rstrip("/")
        self.complaints: list[str] = []
        self._shots = shots
        self._last_code = 0
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message: object) -> None:
        kind, text = message.type, message.text  # type: ignore[attr-defined]
        if kind in ("error", "warning") and "status of 4" not in text:
            self.complaints.append(text)

    def open(self, path: str) -> Page:
        """Goes to an address of the console, and waits until it is all there."""
        self.page.goto(path if path.startswith("http") else self.url + path, wait_until="networkidle")
        return self.page

    def status(self, path: str) -> int:
        """Goes to an address; the status of the answer."""
        answer = self.page.goto(self.url + path, wait_until="networkidle")
        assert answer is not None
        return answer.status

    def shot(self, name: str) -> None:
        """Keeps a picture of what is to be seen, where pictures are kept."""
        if self._shots is not None:
            self._shots.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(self._shots / f"{name}.png"))

    def settle(self) -> str:
        """Sets up a code app on the page that asks for it; returns its secret."""
        self.page.get_by_role("link", name="Set up a code app").first.click()
        secret = self.page.locator("#authenticator_secret").input_value()
        self.page.locator("input[name=code]").fill(self.code(secret))
        self.page.get_by_role("button", name="Activate").click()
        self.page.wait_for_load_state("networkidle")
        return secret

    def code(self, secret: str) -> str:
        """The code that an app shows now; waits for the next one when it was used already (each works once)."""
        while (counter := int(time.time()) // _STEP) <= self._last_code:
            time.sleep(0.2)
        self._last_code = counter
        return str(format_hotp_value(hotp_value(secret, counter)))

    def accept(self, link: str, password: str, **names: str) -> None:
        """Comes in by a one-time link."""
        self.open(link)
        for name, value in {**names, "password": password, "again": password}.items():
            self.page.locator(f"[name={name}]").fill(value)
        self.page.get_by_role("button", name="Begin").click()
        self.page.wait_for_load_state("networkidle")

    def sign_in(self, username: str, password: str, secret: str = "") -> None:
        """Signs in with a password, and with a code when there is a secret for it."""
        self.open("/account/login/")
        self.page.locator("[name=login]").fill(username)
        self.page.locator("[name=password]").fill(password)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        self.page.wait_for_load_state("networkidle")
        if secret:
            self.page.locator("input[name=code]").fill(self.code(secret))
            self.page.get_by_role("button", name="Go on").click()
            self.page.wait_for_load_state("networkidle")

    def weigh(self, path: str) -> int:
        """Opens an address; returns how many bytes went over the wire for it, compressed as they were sent."""
        session = self.context.new_cdp_session(self.page)
        session.send("Network.enable")
        weights: list[float] = []
        session.on("Network.loadingFinished", lambda event: weights.append(event["encodedDataLength"]))
        self.open(path)
        session.detach()
        return int(sum(weights))

    def barriers(self) -> list[str]:
        """What axe-core finds on the page that keeps people out, serious or worse: rule, and where."""
        # Past the page's own policy, which lets no such script in.
        self.context.new_cdp_session(self.page).send(
            "Runtime.evaluate", {"expression": _AXE.read_text(encoding="utf-8")}
        )
        session = self.context.new_cdp_session(self.page)
        found = session.send(
            "Runtime.evaluate",
            {
                "expression": "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})"
                ".then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact))"
                ".map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 120)).join(' | ')))",
                "awaitPromise": True,
                "returnByValue": True,
            },
        )
        return [str(violation) for violation in found["result"]["value"]]
