"""The arguments of `Collection`: settings of a new one, and how an existing one is opened."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from nestling._util.unset import UNSET, Unset
from nestling.collection.ingest.identity import EncoderIdentity
from nestling.collection.ingest.passages import Passages
from nestling.collection.storage.settings import MAX_TITLE_WEIGHT, Settings, check_fields
from nestling.errors import ArgumentError, ArgumentTypeError, EncoderMismatchError
from nestling.index import Index
from nestling.index.arguments import positive
from nestling.index.funnel import Funnel, default_funnel
from nestling.index.header import METRICS, Metric
from nestling.runtime.text_encoder import TextEncoder, nesting_dims

__all__ = ["AccessOptions", "CollectionOptions"]

DEFAULT_ENCODER: Final = "minilm"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessOptions:
    """How a collection is opened.

    Attributes:
        read_only: Whether nothing may be written.
        lock_timeout: Seconds to wait for another writer; 0 not to wait, -1 to wait without limit.
        verify: Whether segments are read whole and checked when they are opened.
        threads: Threads that a call may use; None for the default.
    """

    read_only: bool = False
    lock_timeout: float = 10.0
    verify: bool = True
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionOptions:
    """The arguments of `Collection` that are settings; None where the caller leaves the choice.

    Attributes:
        encoder_name: Canonical source of the encoder, where the caller gave a name.
        encoder: The encoder, where it is open.
        dim: Dimensions of the vectors.
        metric: Either "cosine" or "ip".
        funnel: How rows are stored and searched.
        passages: How documents are split; None if they are not.
        title_weight: How many times the words of a title count.
        fields: Names of declared metadata fields.
        same_encoder: Whether the caller vouches for the encoder of an existing collection.
    """

    encoder_name: str | None = None
    encoder: TextEncoder | None = None
    dim: int | None = None
    metric: Metric | None = None
    funnel: Funnel | None = None
    passages: Passages | Unset | None = UNSET
    title_weight: int | None = None
    fields: tuple[str, ...] = ()
    same_encoder: bool = False

    @classmethod
    def of(
        cls,
        encoder: str | os.PathLike[str] | TextEncoder | None = None,
        *,
        dim: int | None = None,
        metric: Metric | None = None,
        funnel: str | Funnel | None = None,
        passages: Passages | Unset | None = UNSET,
        title_weight: int | None = None,
        fields: Sequence[str] = (),
        same_encoder: bool = False,
    ) -> CollectionOptions:
        """Checks each argument on its own.

        Raises:
            ArgumentError: A value is out of range.
            ArgumentTypeError: A value has a type that cannot be used.
            FunnelError: The funnel is malformed.

        Example:
            >>> CollectionOptions.of("minilm", funnel="48@4:300 > 384@16").encoder_name
            'minilm'
        """
        name: str | None = None
        if isinstance(encoder, (str, os.PathLike)):
            from nestling.models.locate import canonical_source

            name, encoder = canonical_source(encoder), None
        elif encoder is not None and not isinstance(encoder, TextEncoder):
            raise ArgumentTypeError(
                f"{type(encoder).__name__} is not an encoder: it needs dim, encode and "
                "encode_queries"
            )
        if metric is not None and metric not in METRICS:
            raise ArgumentError(f"metric must be one of {METRICS}, not {metric!r}")
        if not (passages is None or passages is UNSET or isinstance(passages, Passages)):
            raise ArgumentTypeError(
                f"passages must be a nestling.collection.Passages or None, not {passages!r}"
            )
        if isinstance(fields, (str, bytes)) or not isinstance(fields, Iterable):
            raise ArgumentTypeError("fields must be a list of names of metadata fields")
        check_fields(set(fields))
        return cls(
            encoder_name=name,
            encoder=encoder,
            dim=None if dim is None else positive("dim", dim),
            metric=metric,
            funnel=None if funnel is None else Funnel.of(funnel),
            passages=passages,
            title_weight=None
            if title_weight is None
            else positive("title_weight", title_weight, MAX_TITLE_WEIGHT),
            fields=tuple(fields),
            same_encoder=same_encoder,
        )

    def with_open_encoder(self, threads: int | None) -> CollectionOptions:
        """Returns these options with the encoder opened, unless they are for bare vectors.

        Raises:
            ModelError: The encoder cannot be loaded.
        """
        if self.encoder is not None or (self.encoder_name is None and self.dim is not None):
            return self
        from nestling.encoder import Encoder

        name = self.encoder_name or DEFAULT_ENCODER
        return replace(self, encoder_name=name, encoder=Encoder(name, threads=threads))

    def settings(self) -> Settings:
        """Returns the settings of a new collection.

        Raises:
            ArgumentError: The encoder makes other dimensions than `dim`.
            FunnelError: The funnel does not fit.
        """
        identity = None
        if self.encoder is not None:
            identity = EncoderIdentity.of(self.encoder)
        dim = self.dim or (identity.dim if identity is not None else 0)
        if identity is not None and identity.dim != dim:
            raise ArgumentError(f"the encoder makes {identity.dim} dimensions, not {dim}")
        funnel = self.funnel or default_funnel(dim, nesting_dims(self.encoder))
        metric = self.metric or "cosine"
        Index(dim, funnel=funnel, metric=metric)  # raises, before there is a folder
        passages = Passages() if self.passages is UNSET else self.passages
        return Settings(dim, metric, funnel, identity, passages, {}, self.title_weight or 1)

    def check(self, stored: Settings, where: str) -> None:
        """Compares these options with the settings of an existing collection.

        Args:
            stored: The settings.
            where: What errors call the collection.

        Raises:
            ArgumentError: It was made with another dim, metric, funnel, way to split or weight of
                titles.
        """
        for name in ("dim", "metric", "funnel", "title_weight"):
            given, actual = getattr(self, name), getattr(stored, name)
            if given is not None and given != actual:
                made, asked = (
                    value if isinstance(value, int) else f"'{value}'" for value in (actual, given)
                )
                raise ArgumentError(f"{where} was made with {name}={made}, not {asked}")
        if self.passages is not UNSET and self.passages != stored.passages:
            raise ArgumentError(
                f"{where} was made with passages={stored.passages!r}, not {self.passages!r}"
            )

    def with_checked_encoder(
        self, stored: EncoderIdentity | None, where: str, threads: int | None
    ) -> CollectionOptions:
        """Compares the encoder with that of an existing collection.

        A name that is the stored one is not opened before it is needed.

        Args:
            stored: The identity of the collection's encoder; None for bare vectors.
            where: What errors call the collection.
            threads: Threads that an encoder opened here may use.

        Returns:
            These options, with the encoder opened where its name does not tell whether it is the
            same: a folder may have moved.

        Raises:
            EncoderMismatchError: The collection was made with another encoder.
            ModelError: The encoder cannot be loaded.
        """
        if self.encoder is None and self.encoder_name is None:
            return self
        if self.same_encoder:
            return self.with_open_encoder(threads)
        if stored is None:
            raise EncoderMismatchError(
                f"{where} holds bare vectors, without an encoder; if this one made them, say so "
                "once with same_encoder=True"
            )
        if self.encoder is not None:
            stored.check(EncoderIdentity.of(self.encoder), where)
            return self
        if stored.is_model and self.encoder_name == stored.name:
            return self
        if stored.is_model and Path(self.encoder_name or "").is_dir():
            opened = self.with_open_encoder(threads)
            return opened.with_checked_encoder(stored, where, threads)
        raise EncoderMismatchError(
            f"{where} was made with {stored}, not {self.encoder_name!r}: embeddings of two "
            "encoders cannot be compared"
        )
