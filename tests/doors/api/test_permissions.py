"""Every route, every role: who may, may; nobody else. The table says by hand what each route needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from ninja import NinjaAPI
from ninja.operation import Operation

from hozi.accounts.defaults import DEFAULT_ROLES
from hozi.doors.api.gate import ANYBODY, Session, Token
from hozi.doors.api.urls import made
from tests.doors.api.conftest import Call, Caller

NEEDS = {
    "audit_chain": "audit.read",
    "decide_exception": "exceptions.decide",
    "get_exception": "exceptions.see",
    "list_exceptions": "exceptions.see",
    "list_ways": "exceptions.decide",
    "change_person": "people.approve",
    "change_setting": "settings.change",
    "download_study": "studies.download",
    "export_audit": "audit.export",
    "get_audit_row": "audit.read",
    "get_person": "people.see",
    "get_setting": "settings.see",
    "get_study": "studies.find",
    "list_objects": "studies.find",
    "list_people": "people.see",
    "list_series": "studies.find",
    "list_settings": "settings.see",
    "list_studies": "studies.find",
    "search_audit": "audit.read",
    "search_studies": "studies.find",
    "setting_history": "settings.see",
    "study_history": "studies.find",
    "undo_setting": "settings.change",
    "who_saw": "audit.read",
    "about": ANYBODY,
    "add_department": "facilities.change",
    "add_device": "devices.change",
    "add_facility": "facilities.change",
    "add_grant": "people.grant",
    "add_organisation": "facilities.change",
    "add_role": "roles.change",
    "add_token": ANYBODY,
    "admit_knock": "devices.change",
    "approve_account": "people.approve",
    "attest_item": "reviews.decide",
    "change_device": "devices.change",
    "change_facility": "facilities.change",
    "change_organisation": "facilities.change",
    "change_role": "roles.change",
    "decline_account": "people.approve",
    "disable_account": "people.approve",
    "dismiss_knock": "devices.change",
    "echo_device": "devices.see",
    "end_emergency": "emergency.use emergency.review",
    "end_grant": "people.grant",
    "end_token": ANYBODY,
    "get_device": "devices.see",
    "get_facility": "facilities.see",
    "get_role": "people.see roles.change",
    "health": "system.see",
    "invite_account": "people.approve",
    "list_departments": "facilities.see",
    "list_devices": "devices.see",
    "list_emergencies": "emergency.review",
    "list_facilities": "facilities.see",
    "list_knocks": "devices.see",
    "list_organisations": "facilities.see",
    "list_own_emergencies": "emergency.use",
    "list_permissions": ANYBODY,
    "list_review_items": "reviews.decide",
    "list_reviews": "reviews.decide",
    "list_roles": "people.see roles.change",
    "list_tokens": ANYBODY,
    "list_waiting": "reviews.decide",
    "open_emergency": "emergency.use",
    "open_review": "reviews.decide",
    "reactivate_account": "people.approve",
    "remove_department": "facilities.change",
    "remove_device": "devices.change",
    "remove_organisation": "facilities.change",
    "remove_role": "roles.change",
    "rename_department": "facilities.change",
    "request_account": "people.request",
    "review_emergency": "emergency.review",
    "revoke_item": "reviews.decide",
    "suspend_account": "people.approve",
    "whoami": ANYBODY,
}


def _operations(api: NinjaAPI) -> Iterator[tuple[str, Operation]]:
    for router in api._get_bound_routers():
        for path, view in router.path_operations.items():
            for operation in view.operations:
                yield path, operation


def _unguarded(api: NinjaAPI) -> list[str]:
    """Routes that let somebody in without asking for a permission."""
    return [
        f"{operation.methods} {path}"
        for path, operation in _operations(api)
        if [type(callback) for callback in operation.auth_callbacks] != [Token, Session]
        or any(not callback.route.needs for callback in operation.auth_callbacks)  # type: ignore[attr-defined]
    ]


@pytest.fixture(scope="module")
def api() -> NinjaAPI:
    return made(lambda device: None)


def test_every_route_asks_for_a_permission(api: NinjaAPI) -> None:
    assert not _unguarded(api)


def test_a_route_that_asks_for_none_is_found() -> None:
    open_door = NinjaAPI(urls_namespace="open")

    @open_door.get("/open")
    def anybody(request: Any) -> str:
        return ""

    assert _unguarded(open_door) == ["['GET'] /open"]


def test_every_route_asks_for_the_permission_that_was_decided(api: NinjaAPI) -> None:
    asked = {
        str(operation.operation_id): " ".join(operation.auth_callbacks[0].route.needs)  # type: ignore[attr-defined]
        for _, operation in _operations(api)
    }
    assert asked == NEEDS


def test_no_two_routes_have_one_name(api: NinjaAPI) -> None:
    names = [operation.operation_id for _, operation in _operations(api)]
    assert len(names) == len(set(names))


def _call(caller: Caller, method: str, path: str) -> int:
    path = re.sub(r"\{(number|[a-z]+)\}", lambda name: "987654321" if name[1] == "number" else "NOBODY", path)
    match method:
        case "GET":
            return int(caller.get(path).status_code)
        case "DELETE":
            return int(caller.delete(path).status_code)
        case "PATCH":
            return int(caller.patch(path, {}).status_code)
    return int(caller.post(path, {}).status_code)


@pytest.mark.django_db
@pytest.mark.parametrize("role", DEFAULT_ROLES, ids=lambda role: role.key)
def test_whoever_may_may_and_nobody_else(role: Any, calls: Call, api: NinjaAPI) -> None:
    caller = calls(role.key)
    wrong = []
    for path, operation in _operations(api):
        needs = set(NEEDS[str(operation.operation_id)].split())
        may = ANYBODY in needs or bool(needs & role.permissions)
        status = _call(caller, operation.methods[0], path)
        # Whose tokens, and whether they are theirs, is asked behind the door.
        behind = operation.operation_id in ("list_tokens", "add_token") and status == 403
        if (status >= 500 or status == 401 or (status == 403) == may) and not behind:
            wrong.append(f"{operation.operation_id}: {status}")
    assert not wrong
