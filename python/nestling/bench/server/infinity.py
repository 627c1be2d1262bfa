"""Infinity's server of embeddings (infinity-emb)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from nestling.bench.server.process import ServerProcess, free_port

__all__ = ["INSTALL", "program", "start"]

INSTALL: Final = (
    "pip install 'infinity-emb[server,torch]', whose command infinity_emb must be on PATH, "
    "and --infinity with the id or the folder of a model for sentence-transformers"
)


def program() -> str | None:
    """Returns the path of its command, or None."""
    return shutil.which("infinity_emb")


def start(model: str, log: Path) -> ServerProcess:
    """Starts it with a model for sentence-transformers, which torch runs on the CPU."""
    port = free_port()
    command = [program() or "infinity_emb", "v2", "--model-id", model, "--engine", "torch"]
    command += ["--device", "cpu", "--url-prefix", "/v1", "--served-model-name", "bench"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {"DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    return ServerProcess(command, port=port, ready="/v1/models", log=log, environment=environment)
