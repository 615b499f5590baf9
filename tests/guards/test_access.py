"""Every page has a rule that says who may open it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver

from hozi.doors.console.access import OF_OTHERS, OTHER_DOORS, rule_of


def _patterns(resolver: URLResolver) -> Iterator[URLPattern]:
    if {resolver.app_name, resolver.namespace} & OTHER_DOORS:
        return
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern)
        else:
            yield pattern


def _without_rule(patterns: list[URLPattern]) -> list[str]:
    return [str(pattern.pattern) for pattern in patterns if rule_of(pattern.callback, pattern.name) is None]


def test_every_view_has_a_rule_of_access() -> None:
    assert not _without_rule(list(_patterns(get_resolver()))), "decorate these views (hozi/doors/console/access.py)"


def test_a_view_without_a_rule_is_found() -> None:
    def view(request: Any) -> HttpResponse:
        return HttpResponse()

    assert _without_rule([URLPattern(get_resolver().pattern, view)]) != []


def test_rules_for_views_of_others_name_addresses_that_are_there() -> None:
    names = {pattern.name for pattern in _patterns(get_resolver())}
    assert set(OF_OTHERS) <= names, set(OF_OTHERS) - names


def test_every_post_of_a_page_needs_a_permission_or_is_meant_for_all() -> None:
    for pattern in _patterns(get_resolver()):
        rule = rule_of(pattern.callback, pattern.name)
        assert rule is not None
        if rule.level == "permission":
            assert rule.permissions or not rule.get, pattern.name
            assert rule.post is None or rule.post, pattern.name
