"""Chroma's server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx
import numpy as np
from numpy.typing import NDArray

from nestling.bench.server.load import request_bytes
from nestling.bench.server.process import ServerProcess, free_port

__all__ = ["INSTALL", "fill", "program", "query", "start"]

INSTALL: Final = "pip install chromadb, whose command chroma must be on PATH"
_DATABASE: Final = "/api/v2/tenants/default_tenant/databases/default_database"
_AT_ONCE: Final = 2_000


def program() -> str | None:
    """Returns the path of its command, or None."""
    return shutil.which("chroma")


def start(folder: Path) -> ServerProcess:
    """Starts it on a new folder."""
    port = free_port()
    command = [program() or "chroma", "run", "--path", str(folder), "--port", str(port)]
    return ServerProcess(
        command, port=port, ready="/api/v2/heartbeat", log=folder.with_suffix(".log")
    )


def fill(server: ServerProcess, rows: NDArray[np.float32], texts: Sequence[str]) -> str:
    """Stores documents; returns the path to query them at."""
    host, port = server.address
    with httpx.Client(base_url=f"http://{host}:{port}", timeout=120) as client:
        body = {"name": "bench", "configuration": {"hnsw": {"space": "cosine"}}}
        made = client.post(f"{_DATABASE}/collections", json=body).raise_for_status().json()
        path = f"{_DATABASE}/collections/{made['id']}"
        for start in range(0, len(rows), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            added = {
                "ids": [f"d{number}" for number in range(start, start + len(rows[part]))],
                "embeddings": rows[part].tolist(),
                "documents": list(texts[part]),
            }
            client.post(f"{path}/add", json=added).raise_for_status()
    return path


def query(path: str, vectors: NDArray[np.float32], k: int) -> bytes:
    """Returns a request for the ids and distances of the nearest documents."""
    body = {"query_embeddings": vectors.tolist(), "n_results": k, "include": ["distances"]}
    headers = [("content-type", "application/json")]
    return request_bytes("POST", f"{path}/query", json.dumps(body).encode(), headers)
