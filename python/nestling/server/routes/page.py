"""The page: files that `web/` was built into, served as they are."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from nestling.server.call import Call
from nestling.server.errors import RequestError
from nestling.server.http import Request, Response
from nestling.server.routing import Endpoint

__all__ = ["ENDPOINTS", "POLICY", "PageFile", "page_files"]

# Nothing comes from another host, no script or style stands in the document, nobody may frame it.
# The map's view draws with WebGPU or WebGL, which need no permission.
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_INDEX: Final = "index.html"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_HASHED: Final = re.compile(r".+-[\w-]{8}\.\w+")  # as vite names what it has a hash of
_FOREVER: Final = "public, max-age=31536000, immutable"
_LEAST_TO_COMPRESS: Final = 1_000
_SECURITY: Final = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page.

    Attributes:
        body: Its bytes.
        packed: The same, compressed by gzip; None where that saves nothing.
        media_type: Its media type.
        etag: Its digest, in quotes.
        hashed: Whether its name changes with its contents, so that it can be kept for ever.
    """

    body: bytes
    packed: bytes | None
    media_type: str
    etag: str
    hashed: bool

    @classmethod
    def of(cls, name: str, body: bytes) -> PageFile:
        """Returns a file with what is served beside it.

        Example:
            >>> PageFile.of("index.html", b"<!doctype html>").media_type
            'text/html; charset=utf-8'
        """
        packed = gzip.compress(body, mtime=0) if len(body) >= _LEAST_TO_COMPRESS else body
        suffix = name[name.rindex(".") :]
        return cls(
            body,
            packed if len(packed) < len(body) else None,
            _TYPES.get(suffix, "application/octet-stream"),
            f'"{hashlib.sha256(body).hexdigest()[:32]}"',
            _HASHED.fullmatch(name) is not None,
        )


@cache
def page_files() -> dict[str, PageFile]:
    """Returns the files of the page by name: a request can name no other."""
    folder = files("nestling.server") / "page"
    return {
        entry.name: PageFile.of(entry.name, entry.read_bytes())
        for entry in folder.iterdir()
        if entry.is_file()
    }


async def _index(call: Call) -> Response:
    """Returns the page."""
    return _answer(call.request, _INDEX)


async def _file(call: Call) -> Response:
    """Returns a file of the page."""
    return _answer(call.request, call.request.params["file"])


def _answer(request: Request, name: str) -> Response:
    file = page_files().get(name)
    if file is None:
        raise RequestError(404, "not found", code="not_found")
    headers = {
        **_SECURITY,
        "cache-control": _FOREVER if file.hashed else "no-cache",
        "etag": file.etag,
        "vary": "accept-encoding",
    }
    if file.etag in (request.header(b"if-none-match") or ""):
        return Response(status=304, headers=headers)
    body = file.body
    if file.packed is not None and _takes_gzip(request.header(b"accept-encoding") or ""):
        body = file.packed
        headers["content-encoding"] = "gzip"
    return Response(body, headers=headers, media_type=file.media_type)


def _takes_gzip(accepted: str) -> bool:
    """Returns whether a header `Accept-Encoding` names gzip, and not as refused."""
    for part in accepted.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return not re.fullmatch(r"\s*q=0(?:\.0*)?\s*", weight)
    return False


ENDPOINTS = (
    Endpoint("GET", "/", _index, role=None, waits=False),
    Endpoint("GET", "/page/{file}", _file, role=None, waits=False),
)
