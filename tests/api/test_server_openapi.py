"""The OpenAPI document says what the server does, and the server does what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from server_world import fill
from serving import Serving, serving

from nestling.server.openapi import DESCRIPTION, OPERATIONS, document
from nestling.server.routes import ENDPOINTS

EXAMPLES = 8  # of each operation, well-formed and malformed ones


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("world")
    with serving(folder / "root", **fill(folder)) as running:
        yield running


def test_every_route_is_described() -> None:
    routes = {f"{endpoint.method} {endpoint.path}" for endpoint in (*ENDPOINTS, DESCRIPTION)}
    assert routes == set(OPERATIONS)
    described = {
        f"{method.upper()} {path}"
        for path, methods in document()["paths"].items()
        for method in methods
    }
    assert described == {re.sub(r":\w+", "", route) for route in routes}


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for operation in methods.values():
            yield path, operation


def test_the_document_is_whole() -> None:
    names = [operation["operationId"] for _, operation in operations()]
    assert len(set(names)) == len(names)
    for path, operation in operations():
        assert operation["summary"]
        in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        assert "default" in operation["responses"]
    schemas = document()["components"]["schemas"]
    used = set(re.findall(r"#/components/schemas/(\w+)", str(document())))
    assert used == set(schemas)
    assert all(schema["description"] for schema in schemas.values())
    search = schemas["SearchRequest"]
    assert search["properties"]["k"]["description"] == "Hits per query."
    assert search["additionalProperties"] is False
    assert "Attributes:" not in str(document())


def test_the_document_is_served(server: Serving) -> None:
    with server.http() as http:
        expected = json.loads(json.dumps(document()))
        assert http.get("/openapi.json").json() == expected


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_generated_requests_are_answered_as_described(server: Serving) -> None:
    pytest.importorskip("schemathesis")
    pytest.importorskip("python_multipart")
    from generated_requests import send_generated

    statuses = send_generated(server, EXAMPLES)
    assert statuses[200] > 100
    assert statuses[422] > 100
    with server.http() as http:
        assert http.get("/readyz").status_code == 200
        assert http.post("/collections/notes/check").json()["problems"] == []
