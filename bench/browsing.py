"""What people wait for in front of a full archive: pages of the console, each from request to last byte, one after the
other, at the real server.

`python -m bench.browsing` is a program, run on a home of Hozi: it answers as JSON with the session of somebody who may
see everything.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

from bench import population
from bench.archives import Home, serving
from bench.ground import Broken, Ground
from bench.million import filled, percentile
from bench.population import STUDIES_A_DAY, STUDIES_A_PATIENT, Population
from bench.report import Measured

_MS: Final = 1000.0
_MOST_LOOKS: Final = 50
_PAGE: Final = 50
_START_SECONDS: Final = 60


@dataclass
class Browser:
    """Somebody who is signed in, at the console of a running archive. Each page is a request on one connection."""

    address: str
    cookies: dict[str, str]
    _connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        self.look("/studies/")  # brings the cookie against forged requests

    def look(self, path: str, sent: dict[str, str] | None = None) -> str:
        """The page at a path, or to which sending a form there leads. Raises Broken when there is none."""
        said = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if sent is None:
            self._connection.request("GET", path, headers=said)
        else:
            said |= {"Content-Type": "application/x-www-form-urlencoded", "X-CSRFToken": self.cookies["hozi_csrf"]}
            self._connection.request("POST", path, urlencode(sent), {**said, "Referer": self.address})
        answer = self._connection.getresponse()
        body = answer.read().decode()
        for header in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = header.partition(";")[0].partition("=")
            self.cookies[name.strip()] = value
        if answer.status in (302, 303):
            return self.look(answer.headers["Location"])
        if answer.status != 200:
            raise Broken(f"the console answered {answer.status} to {path.partition('?')[0]}")
        return body

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


@dataclass(frozen=True)
class Look:
    """One kind of page: how it is asked for, and how many studies stand on it (None: it is no list)."""

    name: str
    what: str
    page: Callable[[Browser, Population, random.Random], str]
    studies: Callable[[Population], int] | None = None


def _search(**what: Callable[[Population, random.Random], str]) -> Callable[[Browser, Population, random.Random], str]:
    def page(browser: Browser, people: Population, luck: random.Random) -> str:
        return browser.look("/studies/", {name: value(people, luck) for name, value in what.items()})

    return page


def _whole(people: Population) -> int:
    return min(_PAGE, people.studies)


def _name(people: Population, luck: random.Random) -> str:
    return population.family_name(luck.randrange(people.patients))[:3]


def _patient(people: Population, luck: random.Random) -> str:
    return population.patient_id(luck.randrange(people.patients))


def _day(people: Population, luck: random.Random) -> str:
    day = population.day(luck.randrange(people.days))
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"


def _deep(browser: Browser, people: Population, luck: random.Random) -> str:
    return browser.look(f"/studies/?after={people.studies // 2 + luck.randrange(people.studies // 4)}")


def _study(browser: Browser, people: Population, luck: random.Random) -> str:
    return browser.look(f"/studies/{1 + luck.randrange(people.studies)}/")


def _one_day(browser: Browser, people: Population, luck: random.Random) -> str:
    day = _day(people, luck)
    return browser.look("/studies/", {"since": day, "until": day})


LOOKS: Final = (
    Look("first", "the newest studies", lambda browser, people, luck: browser.look("/studies/"), _whole),
    Look("name", "a search for three letters of a name", _search(text=_name)),
    Look("patient", "a search for a patient's number", _search(text=_patient), lambda people: STUDIES_A_PATIENT),
    Look("day", "the studies of one day", _one_day, lambda people: STUDIES_A_DAY),
    Look("modality", "the studies of a modality that is rare", _search(modality=lambda people, luck: "MG")),
    Look("deep", "a page from the midst of the list", _deep),
    Look("study", "the page of one study", _study),
    Look("audit", "the audit", lambda browser, people, luck: browser.look("/audit/")),
    Look("home", "Home", lambda browser, people, luck: browser.look("/")),
)


def browse_full(ground: Ground, *, postgresql: bool = False) -> list[Measured]:
    """For each kind of page the 95th percentile of the time to its last byte, in ms, in a full archive."""
    sizes = ground.sizes
    people = Population(sizes.studies)
    home = filled(ground, sizes.instances, sizes.studies, postgresql=postgresql)
    told = json.loads(home.run("bench.browsing"))
    luck = random.Random(ground.seed)
    results = [Measured() for _ in LOOKS]
    with serving(home):
        browser = Browser(console(home), {told["cookie"]: told["session"]})
        try:
            for run in range(-1 if sizes.warm_up else 0, sizes.runs):
                for look, measured in zip(LOOKS, results, strict=True):
                    seconds = [_timed(look, browser, people, luck) for _ in range(min(sizes.queries, _MOST_LOOKS))]
                    if run >= 0:
                        measured.ours.append(percentile(seconds, 0.95) * _MS)
        finally:
            browser.close()
    return results


def _timed(look: Look, browser: Browser, people: Population, luck: random.Random) -> float:
    started = time.perf_counter()
    page = look.page(browser, people, luck)
    took = time.perf_counter() - started
    studies = len(re.findall(r"<tr data-open=", page))
    if look.studies is not None and studies != look.studies(people):
        raise Broken(f"{look.name}: {studies} studies on the page where {look.studies(people)} are right")
    return took


def console(home: Home) -> str:
    """Where the console of this home listens: its web part says so when it is ready."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        for line in (home.folder / "hozi.log").read_text(errors="replace").splitlines():
            if '"part": "web"' in line and '"event": "ready"' in line:
                return str(json.loads(line)["url"])
        time.sleep(0.05)
    raise Broken("the console did not start")


def main() -> None:
    """Signs somebody in who may see everything, and prints their session as JSON."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hozi.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.test import Client

    from tests.people import ACCOUNTS, settle

    person = get_user_model()._default_manager.get(pk=settle(ACCOUNTS["pacs_admin"]))
    client = Client()
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    name = settings.SESSION_COOKIE_NAME
    print(json.dumps({"cookie": name, "session": client.cookies[name].value}))


if __name__ == "__main__":
    sys.exit(main())
