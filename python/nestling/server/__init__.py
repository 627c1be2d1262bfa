"""Embeddings and searches over HTTP: one ASGI app, `nestling serve`. Needs `nestling[server]`."""

from __future__ import annotations

from nestling.server.settings import ServerSettings, missing_server_package

try:
    from nestling.server.app import create_app
    from nestling.server.catalog import Catalog
except ImportError as error:
    raise missing_server_package(error) from error

__all__ = ["Catalog", "ServerSettings", "create_app"]
