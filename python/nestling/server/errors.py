"""Errors as HTTP answers, in the shape of OpenAI's: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from nestling import errors
from nestling.errors import NestlingError

__all__ = ["RequestError", "request_error"]

_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    500: "server_error",
    501: "not_supported_error",
    503: "unavailable_error",
    504: "timeout_error",
}
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_INTERNAL: Final = "the server failed; its log says why"

# The most specific class first: the first that fits counts.
_STATUSES: Final[tuple[tuple[type[NestlingError], int, str], ...]] = (
    (errors.FilterError, 422, "filter"),
    (errors.FunnelError, 422, "funnel"),
    (errors.VectorError, 422, "vector"),
    (errors.IdError, 422, "id"),
    (errors.DocumentError, 422, "document"),
    (errors.MetadataError, 422, "metadata"),
    (errors.CorpusError, 422, "document"),
    (errors.ArgumentTypeError, 422, "argument"),
    (errors.EncoderMismatchError, 409, "encoder_mismatch"),
    (errors.ModelNotFoundError, 404, "model_not_found"),
    (errors.ModelError, 409, "model"),
    (errors.LockedError, 503, "locked"),
    (errors.ClosedError, 503, "closed"),
    (errors.OverloadError, 429, "overloaded"),
    (errors.CoverageError, 503, "coverage"),
    (errors.ClusterError, 503, "cluster"),
    (errors.ArgumentError, 422, "argument"),
)


class RequestError(NestlingError):
    """A request that is answered with an error.

    Args:
        status: The HTTP status.
        message: What was wrong, what was expected, what to do.
        param: Which part of the request is wrong; None where it is the whole.
        code: A word that programs can compare; None for none.
        retry_after: Seconds after which to try again; None to leave that open.
        headers: Headers beside those that follow from the others.

    Example:
        >>> RequestError(404, "no such collection").body()["error"]["type"]
        'not_found_error'
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self._headers = dict(headers or {})

    def body(self) -> dict[str, dict[str, str | None]]:
        """Returns the JSON object that is answered."""
        kind = _TYPES.get(self.status, "invalid_request_error")
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def headers(self) -> dict[str, str]:
        """Returns the headers that go with it."""
        headers = self._headers.copy()
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, round(self.retry_after)))
            headers["retry-after-ms"] = str(max(1, round(self.retry_after * 1000)))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers


def request_error(error: Exception) -> RequestError:
    """Returns the answer to any exception; one that is not the client's fault says no details.

    Example:
        >>> request_error(errors.FilterError("where: unknown operator '$near'")).status
        422
        >>> request_error(KeyError("secret")).message
        'the server failed; its log says why'
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, TimeoutError) and not isinstance(error, NestlingError):
        return RequestError(504, "the request took longer than it may", code="timeout")
    if isinstance(error, errors.StorageError) and error.errno in _FULL:
        return RequestError(507, "the server's disk is full", code="disk_full")
    for kind, status, code in _STATUSES:
        if isinstance(error, kind):
            retry = 1.0 if status in (429, 503) else None
            return RequestError(status, str(error), code=code, retry_after=retry)
    return RequestError(500, _INTERNAL, code="internal")
