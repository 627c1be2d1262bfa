"""A server, as Python sees it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from nestling._util.unset import UNSET, Unset
from nestling.client.answers import info_of
from nestling.client.collection import RemoteCollection
from nestling.client.transport import Transport
from nestling.collection import CollectionInfo, Passages
from nestling.errors import ArgumentError
from nestling.index.funnel import Funnel
from nestling.index.header import Metric
from nestling.inputs.texts import query_texts

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Client"]

_TEXTS: Final = 256  # of a request for embeddings
_CHARACTERS: Final = 400_000


class Client:
    """Collections and encoders of a server. Threads may share a client.

    Requests that the server has no time for (429, 503) are repeated after the time that it names.
    Errors are raised as the classes that a local collection raises, where there are such; others
    as `ServerError`. Needs `nestling[client]`.

    Args:
        url: Where the server listens, such as "http://127.0.0.1:8080".
        api_key: The key; None for a server without keys.
        timeout: Seconds that a request may take, but for tuning, checks, and the like.
        retries: How often a request is repeated.

    Raises:
        PackageError: httpx is not installed.
        ArgumentError: `url` is not a URL.

    Example:
        >>> client = nestling.Client("http://127.0.0.1:8080", api_key="nest-key")
        >>> articles = client.collection("articles")
        >>> articles.search("what makes bread?")[0].text  # doctest: +SKIP
        'Bread is made of flour and water.'
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 5,
    ) -> None:
        self._url = url
        self._transport = Transport(url, api_key, timeout, retries)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        url = self._url
        return f"Client({url[:97] + '...' if len(url) > 100 else url!r})"

    def collection(self, name: str) -> RemoteCollection:
        """Returns a collection of the server; nothing is sent yet.

        Example:
            >>> nestling.Client("http://127.0.0.1:8080").collection("articles").name
            'articles'
        """
        return RemoteCollection(self._transport, name)

    def collections(self) -> dict[str, CollectionInfo]:
        """Returns the collections by name, with the facts about them.

        Raises:
            ServerError: The server cannot be reached, or refuses.

        Example:
            >>> client.collections()["articles"].documents  # doctest: +SKIP
            2
        """
        listed = self._transport.json("GET", "/collections")["collections"]
        return {one["name"]: info_of(one) for one in listed}

    def create_collection(
        self,
        name: str,
        encoder: str | None = None,
        *,
        dim: int | None = None,
        metric: Metric | None = None,
        funnel: str | Funnel | None = None,
        passages: Passages | Unset | None = UNSET,
        title_weight: int | None = None,
        fields: Sequence[str] = (),
    ) -> RemoteCollection:
        """Creates a collection; one with the same settings stays as it is.

        Args:
            name: Its name: letters, digits, "_", "-" and ".".
            encoder: Name of an encoder that is served; or give `dim`.
            dim: As for `Collection`.
            metric: As for `Collection`.
            funnel: As for `Collection`.
            passages: As for `Collection`.
            title_weight: As for `Collection`.
            fields: As for `Collection`.

        Raises:
            ServerError: The server cannot be reached, or the key may not create collections.
            NestlingError: As for `Collection`.

        Example:
            >>> notes = client.create_collection("notes", "minilm")  # doctest: +SKIP
            >>> notes.add("Bread is made of flour.").added  # doctest: +SKIP
            1
        """
        body: dict[str, Any] = {
            "encoder": encoder,
            "dim": dim,
            "metric": metric,
            "funnel": None if funnel is None else str(funnel),
            "title_weight": title_weight,
            "fields": list(fields),
        }
        if passages is None:
            body["passages"] = None
        elif isinstance(passages, Passages):
            body["passages"] = {"size": passages.size, "overlap": passages.overlap}
        collection = self.collection(name)
        self._transport.json("PUT", collection.path, body)
        return collection

    def delete_collection(self, name: str) -> None:
        """Removes a collection and all that it holds.

        Raises:
            ServerError: There is none, or the key may not remove it.

        Example:
            >>> client.delete_collection("notes")  # doctest: +SKIP
        """
        self._transport.json("DELETE", self.collection(name).path)

    def models(self) -> list[str]:
        """Returns the names of the encoders.

        Raises:
            ServerError: The server cannot be reached, or refuses.

        Example:
            >>> client.models()  # doctest: +SKIP
            ['minilm']
        """
        return [model["id"] for model in self._transport.json("GET", "/v1/models")["data"]]

    def embed(
        self,
        texts: str | Sequence[str],
        model: str | None = None,
        *,
        dim: int | None = None,
        kind: Literal["query", "document"] = "query",
    ) -> NDArray[np.float32]:
        """Returns embeddings, as `Encoder.encode_queries` or `Encoder.encode` makes them.

        Args:
            texts: A text, or several.
            model: Name of an encoder; None if the server has one only.
            dim: Length of the prefix to return, one that the model was trained for.
            kind: What the texts are.

        Returns:
            (n, dim) float32 at unit length; (dim,) for a single text.

        Raises:
            ModelNotFoundError: The server has no such encoder.
            ArgumentError: A text is empty or too long, the model was not trained for `dim`, or
                `model` is needed.
            ServerError: The server cannot be reached, or refuses.

        Example:
            >>> client.embed("what makes bread?", "minilm", dim=64).shape  # doctest: +SKIP
            (64,)
        """
        model = self._only_model() if model is None else model
        given = query_texts(texts)
        if given is None:
            raise ArgumentError("texts must be a text or a list of texts")
        parts = []
        for part in _parts(given):
            body = {
                "input": part,
                "model": model,
                "dimensions": dim,
                "encoding_format": "base64",
                "input_type": kind,
            }
            answer = self._transport.json("POST", "/v1/embeddings", body)
            data = [base64.b64decode(one["embedding"]) for one in answer["data"]]
            parts += [np.frombuffer(one, "<f4").astype(np.float32) for one in data]
        if isinstance(texts, str):
            return parts[0]
        return np.stack(parts) if parts else np.empty((0, dim or 0), np.float32)

    def status(self) -> dict[str, Any]:
        """Returns the server's version and state, as `GET /status` answers them.

        Raises:
            ServerError: The server cannot be reached, or refuses.

        Example:
            >>> client.status()["ready"]  # doctest: +SKIP
            True
        """
        return cast("dict[str, Any]", self._transport.json("GET", "/status"))

    def close(self) -> None:
        """Closes the connections to the server.

        Example:
            >>> nestling.Client("http://127.0.0.1:8080").close()
        """
        self._transport.close()

    def _only_model(self) -> str:
        names = self.models()
        if len(names) != 1:
            raise ArgumentError(f"model must be one of {names}")
        return names[0]


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yields texts of one request after the other."""
    part: list[str] = []
    characters = 0
    for text in texts:
        if part and (len(part) == _TEXTS or characters + len(text) > _CHARACTERS):
            yield part
            part, characters = [], 0
        part.append(text)
        characters += len(text)
    if part:
        yield part
