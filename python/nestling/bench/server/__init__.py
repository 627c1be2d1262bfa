"""`python -m nestling.bench server`: this server under load, and others beside it."""

from nestling.bench.server.command import ServerOptions, server

__all__ = ["ServerOptions", "server"]
