"""Health and metrics, for those who run the server."""

from __future__ import annotations

import time
from importlib.metadata import version

from nestling.server.call import Call
from nestling.server.http import Response, json_answer
from nestling.server.metrics import CONTENT_TYPE
from nestling.server.routing import Endpoint

__all__ = ["ENDPOINTS"]


async def _livez(_: Call) -> Response:
    """Answers as long as the process runs."""
    return json_answer({"status": "alive"})


async def _readyz(call: Call) -> Response:
    """Answers 200 where requests are served; 503 while it loads or drains."""
    service = call.service
    return json_answer({"status": service.status}, 200 if service.ready else 503)


async def _status(call: Call) -> Response:
    """Answers what is served."""
    service = call.service
    encoders = service.catalog.models()
    models = [
        {
            "name": name,
            "dim": encoder.dim,
            "nesting": encoder.nesting,
            "max_length": encoder.max_length,
            "precision": encoder.precision,
        }
        for name, encoder in encoders.items()
    ]
    served = {encoder.fingerprint: name for name, encoder in encoders.items()}
    query_encoders = [
        {
            "name": queries.name,
            "imitates": served.get(queries.teacher.fingerprint, queries.teacher.name),
            "dim": queries.dim,
        }
        for queries in service.catalog.query_encoders()
        if queries.teacher is not None
    ]
    return json_answer(
        {
            "version": version("nestling"),
            "status": service.status,
            "ready": service.ready,
            "read_only": service.settings.read_only,
            "uptime_seconds": round(time.time() - service.started, 3),
            "models": models,
            "query_encoders": query_encoders,
            "problems": {
                name: problem
                for name, problem in service.catalog.problems.items()
                if call.key.allows("read", name)
            },
        }
    )


async def _metrics(call: Call) -> Response:
    """Answers the counters, for Prometheus."""
    return Response(call.service.metrics.text(), media_type=CONTENT_TYPE)


ENDPOINTS = (
    Endpoint("GET", "/livez", _livez, role=None, waits=False),
    Endpoint("GET", "/readyz", _readyz, role=None, waits=False),
    Endpoint("GET", "/health", _readyz, role=None, waits=False),  # as TEI calls it
    Endpoint("GET", "/status", _status, waits=False),
    Endpoint("GET", "/metrics", _metrics, waits=False),
)
