"""Levels of care, provinces and facility codes, as Zimbabwe's ministry of health and child care has them.

Codes of levels and of facilities are those of its core FHIR guide (ZimFacilityTypeCS, facility-code). The guide knows
no private places and no quinary hospitals: those are ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from hozi.core.errors import Refused

_REGISTRY_CODE: Final = re.compile(r"ZW(0[1-9]|10)[0-9A-Z]{4}")


@dataclass(frozen=True, slots=True)
class Level:
    """A level of care. ``national``: whether its key is a code of the ministry's guide."""

    key: str
    label: str | Promise
    national: bool = True


@dataclass(frozen=True, slots=True)
class Province:
    """A province: its number in facility codes, its name, and its subdivision code (ISO 3166-2:ZW)."""

    key: str
    name: str
    iso: str


LEVELS: Final[tuple[Level, ...]] = (
    Level("QUINARY", _("Quinary hospital"), national=False),
    Level("CENTRAL", _("Central hospital")),
    Level("PROVINCIAL", _("Provincial hospital")),
    Level("DISTRICT", _("District hospital")),
    Level("MISSION", _("Mission hospital")),
    Level("RURALHOSP", _("Rural hospital")),
    Level("RHC", _("Rural health centre")),
    Level("POLYCLINIC", _("Polyclinic")),
    Level("CLINIC", _("Clinic")),
    Level("PRIVATE", _("Private hospital"), national=False),
    Level("PRIVATE_CLINIC", _("Private clinic or imaging centre"), national=False),
    Level("OVERSIGHT", _("Office without patients"), national=False),
)
"""From the highest level of care down; what is private or treats nobody comes last."""

PROVINCES: Final[tuple[Province, ...]] = (
    Province("01", "Harare", "ZW-HA"),
    Province("02", "Manicaland", "ZW-MA"),
    Province("03", "Mashonaland Central", "ZW-MC"),
    Province("04", "Mashonaland East", "ZW-ME"),
    Province("05", "Mashonaland West", "ZW-MW"),
    Province("06", "Matabeleland North", "ZW-MN"),
    Province("07", "Matabeleland South", "ZW-MS"),
    Province("08", "Midlands", "ZW-MI"),
    Province("09", "Masvingo", "ZW-MV"),
    Province("10", "Bulawayo", "ZW-BU"),
)

LEVEL_BY_KEY: Final = {level.key: level for level in LEVELS}
PROVINCE_BY_KEY: Final = {province.key: province for province in PROVINCES}


def level(key: str) -> str:
    """The key of a level as it is stored; empty stays empty. Raises Refused when there is no such level."""
    key = key.strip().upper()
    if key and key not in LEVEL_BY_KEY:
        raise Refused(f"There is no level {key!r} (there are: {', '.join(LEVEL_BY_KEY)})", field="level")
    return key


def province(key: str) -> str:
    """The key of a province as it is stored; empty stays empty. Raises Refused when there is no such province."""
    key = key.strip()
    if key and key not in PROVINCE_BY_KEY:
        raise Refused("Choose one of the ten provinces, 01 to 10", field="province")
    return key


def registry_code(text: str, province: str = "") -> str:
    """The ministry's code of a facility as it is stored: ZW, province, district, facility (two characters each).

    Empty stays empty. Raises Refused when it is malformed, or names another province than ``province``.
    """
    code = text.strip().upper()
    if not code:
        return ""
    if not _REGISTRY_CODE.fullmatch(code):
        raise Refused(
            "A facility code has 8 characters: ZW, the number of the province (01 to 10), then two for the district"
            " and two for the facility, for example ZW010245",
            field="registry_code",
        )
    if province and province_of(code) != province:
        said = PROVINCE_BY_KEY[province_of(code)].name
        raise Refused(
            f"{code} is a code of {said}, and the province is {PROVINCE_BY_KEY[province].name}: correct one of them",
            field="registry_code",
        )
    return code


def province_of(registry_code: str) -> str:
    """The key of the province that a well-formed facility code names."""
    return registry_code[2:4]
