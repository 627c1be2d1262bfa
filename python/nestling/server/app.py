"""The ASGI app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from nestling.server.catalog import Catalog
from nestling.server.openapi import DESCRIPTION
from nestling.server.routes import ENDPOINTS
from nestling.server.routing import RequestLog, Routes
from nestling.server.service import Service
from nestling.server.settings import ServerSettings

__all__ = ["create_app"]


def create_app(settings: ServerSettings, catalog: Catalog | None = None) -> RequestLog:
    """Returns a server as one ASGI app, which others can mount.

    Its lifespan loads models and collections, in the background: requests get 503 until then.

    Args:
        settings: The settings.
        catalog: What to serve, if it is open already. Default: what the settings name.

    Raises:
        SettingError: The file of API keys is malformed, or has none.
        StorageError: It cannot be read.
        ArgumentError: Two collections have one name, or a folder is not there.

    Example:
        >>> from nestling.server import ServerSettings, create_app
        >>> app = create_app(ServerSettings(collections=("library",)))
    """
    service = Service(settings, catalog)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        loading = asyncio.create_task(service.load())
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.get_running_loop().run_in_executor(None, service.close)

    served: ASGIApp = Routes((*ENDPOINTS, DESCRIPTION), service, lifespan)
    if settings.cors_origins:
        served = CORSMiddleware(
            served,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Timeout-Ms"],
            expose_headers=["X-Request-Id", "X-Total-Time"],
        )
    return RequestLog(_traced(served), service)


def _traced(app: ASGIApp) -> ASGIApp:
    """Makes each request a span, where OpenTelemetry is installed."""
    try:
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    except ImportError:
        return app
    traced: ASGIApp = OpenTelemetryMiddleware(app)
    return traced
