"""The API described: as OpenAPI for programs, and as one page for people, made of our own files only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from ninja import NinjaAPI

PREFIX: Final = "api"


@dataclass(frozen=True, slots=True)
class Line:
    """A field or parameter, as the page shows it."""

    name: str
    kind: str
    needed: bool
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """A route, as the page shows it. ``anchor`` is its name; ``answer``: the fields of what comes back."""

    anchor: str
    method: str
    path: str
    summary: str
    permissions: tuple[str, ...]
    parameters: tuple[Line, ...]
    body: tuple[Line, ...]
    answer: tuple[Line, ...]
    example: str


class Description:
    """Both descriptions of an API: made once, when somebody asks."""

    def __init__(self, api: NinjaAPI) -> None:
        self._api = api

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The OpenAPI document."""
        made: dict[str, Any] = json.loads(json.dumps(self._api.get_openapi_schema(path_prefix=f"{PREFIX}/")))
        return made

    @cached_property
    def areas(self) -> list[tuple[str, list[Operation]]]:
        """The operations by area, in the order in which they were written."""
        found: dict[str, list[Operation]] = {}
        for path, methods in self.schema["paths"].items():
            for method, said in methods.items():
                found.setdefault(said["tags"][0], []).append(self._operation(path, method.upper(), said))
        return list(found.items())

    def document(self, request: HttpRequest) -> HttpResponse:
        """OpenAPI, for programs."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        return HttpResponse(json.dumps(self.schema), content_type="application/json")

    def page(self, request: HttpRequest) -> HttpResponse:
        """The page, for people."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        about = {"title": self._api.title, "areas": self.areas}
        return render(request, "api/docs.html", about)

    def _operation(self, path: str, method: str, said: dict[str, Any]) -> Operation:
        parameters = tuple(
            Line(one["name"], self._kind(one["schema"]), one.get("required", False), f"in the {one['in']}")
            for one in said.get("parameters", ())
        )
        body = said.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        good: dict[str, Any] = next(
            (answer for status, answer in said["responses"].items() if status.startswith("2")), {}
        )
        answer = good.get("content", {}).get("application/json", {}).get("schema", {})
        return Operation(
            said["operationId"],
            method,
            path,
            said.get("summary", ""),
            tuple(said.get("x-permissions", ())),
            parameters,
            self._fields(body),
            self._fields(answer),
            _example(path, method, bool(body)),
        )

    def _fields(self, schema: dict[str, Any]) -> tuple[Line, ...]:
        whole = self._resolved(schema)
        if whole.get("type") == "array":
            return self._fields(whole["items"])
        needed = set(whole.get("required", ()))
        return tuple(Line(name, self._kind(said), name in needed) for name, said in whole.get("properties", {}).items())

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in schema:
            return schema
        found: dict[str, Any] = self.schema["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found

    def _kind(self, schema: dict[str, Any]) -> str:
        """The type of a value in a few words."""
        if "$ref" in schema:
            return str(schema["$ref"].rpartition("/")[2])
        if "anyOf" in schema:
            return " or ".join(self._kind(one) for one in schema["anyOf"])
        if "enum" in schema or "const" in schema:
            return " | ".join(str(one) or '""' for one in schema.get("enum", [schema.get("const")]))
        if schema.get("type") == "array":
            return f"list of {self._kind(schema['items'])}"
        said = {"null": "null", "integer": "number", "boolean": "true or false"}.get(schema.get("type", ""))
        return said or {"date-time": "moment", "date": "day"}.get(schema.get("format", ""), "text")


def _example(path: str, method: str, body: bool) -> str:
    """How it is called with curl."""
    parts = ["curl", *([] if method == "GET" else ["-X", method]), '-H "Authorization: Bearer $TOKEN"']
    if body:
        parts += ['-H "Content-Type: application/json"', "-d @body.json"]
    return " ".join([*parts, f'"$HOZI{path}"'])
