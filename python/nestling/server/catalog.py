"""The collections and encoders that a server has open."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any, Final, NoReturn

from nestling._util.paths import absolute
from nestling.collection import Collection, EncoderIdentity, is_collection
from nestling.encoder import Encoder
from nestling.errors import (
    ArgumentError,
    ArgumentTypeError,
    ModelError,
    StorageError,
    VectorError,
)
from nestling.models.locate import source_kind
from nestling.server.errors import RequestError
from nestling.server.searchable import Searchable

__all__ = ["Catalog", "check_name"]

_NAME: Final = re.compile(r"\w[\w.-]{0,99}")
_LOOK_SECONDS: Final = 1.0  # between two looks whether a collection is still there
_DELETED: Final = ".deleted-"  # what a folder is called while it is removed


def check_name(name: str) -> str:
    """Returns the name of a collection, in Unicode's composed form.

    Letters, digits, "_", "-" and "." are allowed, not at the beginning the latter two, at most 100.
    So a name is one part of a path, never one that leaves its folder or is hidden.

    Raises:
        RequestError: 422; it is not such a name.

    Example:
        >>> check_name("articles"), check_name("مقالات")
        ('articles', 'مقالات')
        >>> check_name("../etc")
        Traceback (most recent call last):
        nestling.server.errors.RequestError: '../etc' is not a name: ...
    """
    name = unicodedata.normalize("NFC", name)
    if not _NAME.fullmatch(name) or len(os.fsencode(name)) > 200:
        raise RequestError(
            422,
            f"{name[:100]!r} is not a name: use letters, digits, '_', '-' and '.', at most 100, "
            "beginning with a letter or a digit",
            param="name",
            code="name",
        )
    return name


class Catalog:
    """Opens collections and encoders, each once, and closes them. Threads may share it.

    Args:
        folders: Folders of collections, or folders of such folders.
        models: Encoders to offer by name.
        query_encoders: Query encoders for the collections whose encoders they imitate.
        clusters: What is searched elsewhere, by name. Whoever has opened them closes them.
        read_only: Whether collections are opened so that nothing can be changed.
        threads: Threads that a call of an encoder or a collection may use.

    Attributes:
        root: Where new collections are created; None where no folder of collections is given.
        read_only: As given.
        problems: What is wrong with a collection that is served nevertheless, by name.

    Raises:
        ArgumentError: Two collections have one name, or a path is not a folder.

    Example:
        >>> with nestling.Collection("library/notes", dim=2):
        ...     pass
        >>> Catalog(["library"])
        Catalog(1 collections, 0 models)
    """

    def __init__(
        self,
        folders: Iterable[str | os.PathLike[str]],
        models: Iterable[str | Encoder] = (),
        *,
        query_encoders: Iterable[str | Encoder] = (),
        clusters: Mapping[str, Searchable] | None = None,
        read_only: bool = False,
        threads: int | None = None,
    ) -> None:
        self.read_only = read_only
        self.problems: dict[str, str] = {}
        self._threads = threads
        self._roots: list[Path] = []
        self._paths: dict[str, Path] = {}
        for folder in map(absolute, folders):
            if is_collection(folder):
                self._claim(folder.name, folder)
            elif folder.is_dir() or not folder.exists():
                self._roots.append(folder)
            else:
                raise ArgumentError(f"{folder}: not a folder")
        self._clusters = dict(clusters or {})
        for name in self._clusters.keys() & self._paths.keys():
            raise ArgumentError(f"a cluster and {self._paths[name]} have the same name: rename one")
        self.root = self._roots[0] if self._roots else None
        self._model_sources = list(models)
        self._query_sources = list(query_encoders)
        self._queries: dict[str, Encoder] = {}  # by the fingerprint of what they imitate
        self._models: dict[str, Encoder] = {}
        self._encoders: dict[str, Encoder] = {}  # by the key of their identity
        self._collections: dict[str, Collection] = {}
        self._seen: dict[str, float] = {}  # when their folders were last there
        self._lock = threading.RLock()  # of the dictionaries; opening a model may take long

    def __repr__(self) -> str:
        return f"Catalog({len(self.names())} collections, {len(self.models())} models)"

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError(
            "a catalog cannot be pickled or copied, because it has open files: pickle its paths"
        )

    def _claim(self, name: str, path: Path) -> None:
        if self._paths.setdefault(name, path) != path:
            raise ArgumentError(f"{self._paths[name]} and {path} have the same name: rename one")

    def load(self, on_step: Callable[[str], None] = lambda _: None) -> None:
        """Opens every model and collection, so that no request waits for it.

        Args:
            on_step: Called with the name of what is opened next.

        Raises:
            NestlingError: One of them cannot be opened.
        """
        if self.root is not None and not self.read_only:
            self.root.mkdir(parents=True, exist_ok=True)
        for source in self._model_sources:
            on_step(str(source))
            encoder = source if isinstance(source, Encoder) else self._open_encoder(source)
            with self._lock:
                name = source if isinstance(source, str) else encoder.name
                self._models[name if source_kind(name) != "folder" else encoder.name] = encoder
                self._encoders.setdefault(EncoderIdentity.of(encoder).key, encoder)
        for source in self._query_sources:
            on_step(str(source))
            queries = source if isinstance(source, Encoder) else self._open_encoder(source)
            if queries.teacher is None:
                raise ArgumentError(f"{source}: not a query encoder")
            self._queries[queries.teacher.fingerprint] = queries
        for name in self.names():
            on_step(name)
            if name in self._clusters:
                self._load_encoder(self._clusters[name])
            else:
                self.collection(name)

    def names(self, *, clusters: bool = True) -> list[str]:
        """Returns the names of the collections, in order; those made by others meanwhile too.

        Args:
            clusters: Whether those of the clusters are among them.
        """
        found: dict[str, object] = {**self._paths, **(self._clusters if clusters else {})}
        for root in self._roots:
            with suppress(OSError):
                for folder in root.iterdir():
                    if not folder.name.startswith(".") and is_collection(folder):
                        found.setdefault(folder.name, folder)
        return sorted(found)

    def models(self) -> dict[str, Encoder]:
        """Returns the encoders by name: those that were named, and those of the collections."""
        return dict(self._models)

    def query_encoders(self) -> list[Encoder]:
        """Returns the query encoders."""
        return list(self._queries.values())

    def model(self, name: str) -> Encoder:
        """Returns an open encoder.

        Raises:
            RequestError: 404; none has this name. Models are never loaded for a request.
        """
        encoder = self._models.get(name)  # without the lock, which a model that opens may hold
        if encoder is None:
            known = ", ".join(sorted(self.models())) or "none"
            raise RequestError(
                404,
                f"the model {name!r} is not served; there are: {known}",
                param="model",
                code="model_not_found",
            )
        return encoder

    def opened(self, name: str) -> Searchable | None:
        """Returns a collection or a cluster if it is open, at once."""
        if time.monotonic() < self._seen.get(name, 0.0) + _LOOK_SECONDS:
            return self._collections.get(name)
        return self._clusters.get(name)

    def searchable(self, name: str) -> Searchable:
        """Returns a cluster, or a collection as `collection` does."""
        return self._clusters.get(name) or self.collection(name)

    def collection(self, name: str) -> Collection:
        """Returns a collection, opened if it was not yet, with its encoder.

        Raises:
            RequestError: 404; there is none. 501; it is a cluster.
            NestlingError: It cannot be opened.
        """
        name = check_name(name)
        if name in self._clusters:
            raise RequestError(
                501,
                f"{name!r} is a cluster, which a server can search and describe, and no more",
                param="name",
                code="cluster",
            )
        with self._lock:
            collection = self._collections.get(name)
            if collection is not None and not is_collection(collection.path):
                self._forget(name)  # deleted by another process
                collection = None
            if collection is None:
                collection = self._collections[name] = self._open(self._find(name))
            self._seen[name] = time.monotonic()
        return collection

    def encoder_of(self, collection: Searchable) -> Encoder:
        """Returns the encoder of a collection or a cluster.

        Raises:
            VectorError: It has none, or one that is not a model.
            ModelError: It cannot be loaded.
        """
        identity = collection.encoder
        if identity is None or not identity.is_model:
            raise VectorError(
                f"the collection {_name(collection)!r} has no encoder that a server can open: "
                "search with vectors, or by words"
            )
        encoder = self._encoders.get(identity.key)
        if encoder is None:
            name = _name(collection)
            problem = self.problems.get(name, "its encoder is not loaded")
            raise ModelError(f"the collection {name!r} has no encoder: {problem}")
        return encoder

    def create(self, name: str, options: Mapping[str, Any]) -> tuple[Collection, bool]:
        """Returns a collection, and whether it is new.

        Args:
            name: Its name.
            options: Arguments of `Collection` for a new one.

        Raises:
            RequestError: 409 where none can be created.
            NestlingError: As for `Collection`.
        """
        name = check_name(name)
        self.require_writable()
        given = dict(options)
        if given.get("encoder") is not None:
            given["encoder"] = self.model(given["encoder"])
        with self._lock:
            if name in self.names():
                collection = self.collection(name)
                with Collection(collection.path, read_only=True, **given):
                    return collection, False  # the same settings, or an error
            if self.root is None:
                raise RequestError(
                    409, "no folder of collections is served, so none can be created"
                )
            if given.get("encoder") is not None:
                given["query_encoder"] = self._queries.get(given["encoder"].fingerprint)
            elif given.get("dim") is None:
                raise RequestError(
                    422, "give an encoder, or dim for a collection of bare vectors", param="encoder"
                )
            collection = Collection(self.root / name, threads=self._threads, **given)
            self._collections[name] = collection
            return collection, True

    def delete(self, name: str) -> None:
        """Removes a collection and its files.

        Raises:
            RequestError: 404; there is none.
            StorageError: The system refused.
        """
        self.require_writable()
        name = check_name(name)
        with self._lock:
            path = self._find(name)
            self._forget(name)
            self._paths.pop(name, None)
            gone = path.with_name(f"{_DELETED}{uuid.uuid4().hex}")
            try:
                path.rename(gone)  # at once, whatever happens while its files are removed
            except OSError as error:
                raise StorageError(error.errno, error.strerror, str(path)) from error
        shutil.rmtree(gone, ignore_errors=True)

    def require_writable(self) -> None:
        """Raises an error where nothing may be changed.

        Raises:
            RequestError: 403.
        """
        if self.read_only:
            raise RequestError(403, "the server is read-only", code="read_only")

    def close(self) -> None:
        """Closes all collections."""
        with self._lock:
            for name in list(self._collections):
                self._forget(name)

    def _find(self, name: str) -> Path:
        for path in (self._paths.get(name), *(root / name for root in self._roots)):
            if path is not None and is_collection(path):
                return path
        raise RequestError(
            404, f"there is no collection {name!r}", param="name", code="collection_not_found"
        )

    def _forget(self, name: str) -> None:
        self._seen.pop(name, None)
        collection = self._collections.pop(name, None)
        if collection is not None:
            threading.Thread(target=collection.close, name="nestling-close", daemon=True).start()

    def _open(self, path: Path) -> Collection:
        collection = Collection(path, create=False, read_only=self.read_only, threads=self._threads)
        encoder = self._load_encoder(collection)
        if encoder is None:
            return collection
        collection.close()
        return Collection(
            path,
            encoder,
            query_encoder=self._queries.get(encoder.fingerprint),
            create=False,
            read_only=self.read_only,
            threads=self._threads,
        )

    def _load_encoder(self, collection: Searchable) -> Encoder | None:
        """Returns the encoder of a collection, opened; None if it has none, or it cannot be."""
        identity = collection.encoder
        if identity is None or not identity.is_model:
            return None
        try:
            return self._encoder(identity)
        except ModelError as error:  # vectors and words can be searched for without it
            self.problems[_name(collection)] = str(error)
            return None

    def queries_of(self, collection: Searchable) -> Encoder | None:
        """Returns the query encoder of a collection; None if it has none."""
        identity = collection.encoder
        return None if identity is None else self._queries.get(identity.fingerprint or "")

    def _encoder(self, identity: EncoderIdentity) -> Encoder:
        if identity.key not in self._encoders:
            encoder = identity.open(self._threads)
            identity.check(EncoderIdentity.of(encoder), "the collection")
            self._encoders[identity.key] = encoder
            self._models.setdefault(encoder.name, encoder)
        return self._encoders[identity.key]

    def _open_encoder(self, source: str) -> Encoder:
        return Encoder(source, threads=self._threads)


def _name(collection: Searchable) -> str:
    return PurePath(collection.path).name
