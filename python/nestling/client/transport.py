"""Requests to a server: keys, retries, and errors as exceptions."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from nestling import errors
from nestling.errors import ArgumentError, NestlingError, PackageError, ServerError

if TYPE_CHECKING:
    import httpx

__all__ = ["Transport", "error_of"]

_RETRIED: Final = frozenset((429, 502, 503))
_LONGEST_WAIT: Final = 30.0  # seconds
_FIRST_WAIT: Final = 0.25  # where the server does not say how long; then twice that

# By the code of an error: the class that a local collection raises for the same reason.
_KINDS: Final[Mapping[str, type[NestlingError]]] = {
    "argument": errors.ArgumentError,
    "closed": errors.ClosedError,
    "document": errors.DocumentError,
    "encoder_mismatch": errors.EncoderMismatchError,
    "filter": errors.FilterError,
    "funnel": errors.FunnelError,
    "id": errors.IdError,
    "locked": errors.LockedError,
    "metadata": errors.MetadataError,
    "model_not_found": errors.ModelNotFoundError,
    "vector": errors.VectorError,
}
_REQUEST: Final = frozenset((400, 413, 415, 422))  # the request itself is at fault


class Transport:
    """Sends requests, and repeats those that the server had no time for. Threads may share it.

    Args:
        url: Where the server listens.
        api_key: The key; None for a server without keys.
        timeout: Seconds that a request may take.
        retries: How often a request is repeated that the server refused for want of time.

    Raises:
        PackageError: httpx is not installed.
        ArgumentError: `url` is not a URL.
    """

    def __init__(self, url: str, api_key: str | None, timeout: float, retries: int) -> None:
        try:
            import httpx
        except ImportError as error:
            raise PackageError(
                f"the client needs the package {error.name}: pip install 'nestling[client]'",
                name=error.name,
            ) from error
        headers = {"x-timeout-ms": str(max(1, round(timeout * 1000)))}
        if api_key is not None:
            headers["authorization"] = f"Bearer {api_key}"
        if not url.startswith(("http://", "https://")):
            raise ArgumentError(f"url must begin with http:// or https://, not {url!r}")
        self._arguments = (url, api_key, timeout, retries)
        self._retries = retries
        try:
            self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ArgumentError(f"{url!r} is not a URL or the key is not ASCII: {error}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return Transport, self._arguments  # another process has connections of its own

    def json(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Sends a JSON body and returns the JSON answer.

        Raises:
            NestlingError: As for `send`.
        """
        if body is not None:
            options["content"] = json.dumps(body, ensure_ascii=False, allow_nan=False).encode(
                "utf-8", "surrogatepass"
            )
            options["headers"] = {"content-type": "application/json", **options.get("headers", {})}
        answer = self.send(method, path, **options)
        try:
            return answer.json()
        except ValueError as error:
            raise ServerError(f"{answer.url}: the answer is not JSON: {error}") from None

    def send(
        self, method: str, path: str, *, patient: bool = False, **options: Any
    ) -> httpx.Response:
        """Sends a request and returns the answer.

        Args:
            method: The HTTP method.
            path: The path.
            patient: Whether it has no limit of time.
            options: As for `httpx.Client.request`.

        Raises:
            ServerError: The server cannot be reached, refuses the key, or fails.
            NestlingError: What a local collection raises.
        """
        import httpx

        if patient:
            options["timeout"] = None
        attempt = 0
        while True:
            error: NestlingError
            wait = min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT) * random.uniform(0.5, 1)  # noqa: S311
            try:
                answer = self._http.request(method, path, **options)
            except httpx.ConnectError as cause:
                error = ServerError(f"{self._http.base_url}: cannot connect: {cause}")
            except httpx.HTTPError as cause:
                kind = type(cause).__name__
                raise ServerError(f"{self._http.base_url}{path}: {kind}: {cause}") from cause
            else:
                if answer.is_success:
                    return answer
                error = error_of(answer)
                if answer.status_code not in _RETRIED:
                    raise error
                wait = _retry_after(answer) or wait
            if attempt >= self._retries:
                raise error
            attempt += 1
            time.sleep(wait)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()


def error_of(answer: httpx.Response) -> NestlingError:
    """Returns the exception that an answer stands for."""
    try:
        error = answer.json()["error"]
        message, code = str(error["message"]), error.get("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, code = f"HTTP {answer.status_code}: {answer.text[:200]}", None
    kind = _KINDS.get(code) if isinstance(code, str) else None
    if kind is None and answer.status_code in _REQUEST:
        kind = ArgumentError
    if kind is not None:
        return kind(message)
    failure = ServerError(message)
    failure.status = answer.status_code
    return failure


def _retry_after(answer: httpx.Response) -> float | None:
    milliseconds = answer.headers.get("retry-after-ms")
    value = answer.headers.get("retry-after") if milliseconds is None else milliseconds
    try:
        seconds = float(value) / (1 if milliseconds is None else 1000)
    except (TypeError, ValueError):  # none, or a date
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT)
