"""Requests that schemathesis makes of the OpenAPI document, sent to a running server.

As a program: `python tests/api/generated_requests.py EXAMPLES`, of each operation.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup
from server_world import fill
from serving import Serving, serving

from nestling.server.openapi import document

CHECKED = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_schema_conformance",),
)
FINE = frozenset((503, 504))  # as described: another writer, or no time
KEPT = ["notes", "library", "unknown"]
SCRATCH = ["scratch", "مقالات", "unknown"]


def described() -> dict[str, Any]:
    """Returns the document, with names of collections that exist, and no long tuning."""
    found = copy.deepcopy(document())
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            whole = path in ("/collections/{name}", "/v1/vector_stores/{name}")
            names = SCRATCH if whole and method in ("put", "delete") else KEPT
            for parameter in operation["parameters"]:
                if parameter["in"] == "path" and parameter["name"] == "name":
                    parameter["schema"] = {"type": "string", "enum": names}
    schemas = found["components"]["schemas"]
    schemas["TuneRequest"]["properties"]["budget_seconds"]["maximum"] = 0.02
    del found["paths"]["/page/{file}"]
    return found


def send_generated(server: Serving, examples: int) -> Counter[int]:
    """Sends requests, well-formed and malformed; returns how many had each status.

    Raises:
        AssertionError: An answer is not as described, with the request that got it.
    """
    schema = schemathesis.openapi.from_dict(described())
    checks = [CHECKS.get_one(name) for name in CHECKED]
    statuses: Counter[int] = Counter()
    failures: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case: Any) -> None:
                answer = case.call(base_url=server.url, timeout=200)
                statuses[answer.status_code] += 1
                if answer.status_code not in FINE:
                    case.validate_response(answer, checks=checks)

            try:
                send()
            except (Exception, FailureGroup) as error:
                if type(error).__name__ != "Unsatisfiable":  # nothing can be malformed
                    failures.append(f"{operation.label} ({mode.value}): {error}"[:3_000])
    assert not failures, "\n\n".join(failures)
    return statuses


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = fill(folder)
        with serving(folder / "root", **options) as running:
            found = send_generated(running, int(sys.argv[1]))
            print(sum(found.values()), "requests", sorted(found.items()))
