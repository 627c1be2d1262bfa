"""What a caller asks of a collection: made so, or checked against what is there."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from nestling.collection.ingest.encoder import EncoderIdentity, canonical_model_name
from nestling.collection.ingest.passages import Passages
from nestling.collection.storage.settings import Settings
from nestling.errors import EncoderMismatchError
from nestling.index import Index
from nestling.index.arguments import positive
from nestling.index.funnel import Funnel, default_funnel
from nestling.index.header import METRICS, Metric
from nestling.runtime.text_encoder import TextEncoder

__all__ = ["CollectionOptions"]

DEFAULT_ENCODER = "minilm"


@dataclass(frozen=True, slots=True)
class CollectionOptions:
    """The arguments of `Collection` that are settings; None where the caller leaves the choice.

    Attributes:
        name: The encoder's, where it is to be opened by it.
        encoder: The encoder, where it is there.
        dim: Dimensions of the vectors.
        metric: Either "cosine" or "ip".
        funnel: How to store and search.
        passages: How to split; None for not at all.
        passages_given: Whether `passages` is the caller's choice.
    """

    name: str | None
    encoder: TextEncoder | None
    dim: int | None
    metric: Metric | None
    funnel: Funnel | None
    passages: Passages | None
    passages_given: bool

    @classmethod
    def of(
        cls,
        encoder: str | os.PathLike[str] | TextEncoder | None,
        dim: int | None,
        metric: Metric | None,
        funnel: str | Funnel | None,
        passages: Passages | str | None,
    ) -> CollectionOptions:
        """Checks each argument by itself.

        Raises:
            ValueError: One is out of range.
            FunnelError: The funnel is malformed.
        """
        name: str | None = None
        if isinstance(encoder, (str, os.PathLike)):
            name, encoder = canonical_model_name(encoder), None
        elif encoder is not None and not isinstance(encoder, TextEncoder):
            raise ValueError(
                f"{type(encoder).__name__} is no encoder: it needs dim, encode and encode_queries"
            )
        if metric is not None and metric not in METRICS:
            raise ValueError(f"metric must be one of {METRICS}, not {metric!r}")
        given = passages != "default"
        split = passages if given else Passages()
        if not (split is None or isinstance(split, Passages)):
            raise ValueError(
                f"passages must be nestling.collection.Passages or None, not {split!r}"
            )
        return cls(
            name,
            encoder,
            None if dim is None else positive("dim", dim),
            metric,
            None if funnel is None else Funnel.of(funnel),
            split,
            given,
        )

    def opened(self, threads: int | None) -> CollectionOptions:
        """Returns the same with the encoder opened, unless bare vectors are asked for."""
        if self.encoder is not None or (self.name is None and self.dim is not None):
            return self
        from nestling.encoder import Encoder

        name = self.name or DEFAULT_ENCODER
        return replace(self, name=name, encoder=Encoder(name, threads=threads))

    def settings(self) -> Settings:
        """Returns the settings of a new collection.

        Raises:
            ValueError: The encoder makes other dimensions than `dim`.
            FunnelError: The funnel does not fit.
        """
        identity = None if self.encoder is None else EncoderIdentity.of(self.encoder, self.name)
        dim = self.dim or (identity.dim if identity is not None else 0)
        if identity is not None and identity.dim != dim:
            raise ValueError(f"the encoder makes {identity.dim} dimensions, not {dim}")
        funnel = self.funnel or default_funnel(dim)
        metric = self.metric or "cosine"
        Index(
            dim, funnel=funnel, metric=metric
        )  # whether it fits is known before there is a folder
        return Settings(dim, metric, funnel, identity, self.passages, {})

    def check(self, stored: Settings, where: str) -> None:
        """Checks what is asked against what a collection was made with.

        Raises:
            EncoderMismatchError: Another encoder.
            ValueError: Another dim, metric, funnel or way to split.
        """
        asks = self.name is not None or self.encoder is not None
        if asks and stored.encoder is None:
            raise EncoderMismatchError(f"{where} holds bare vectors, of no encoder")
        if self.encoder is not None and stored.encoder is not None:
            stored.encoder.check(self.encoder, where)
        if stored.encoder is not None and self.name not in (None, stored.encoder.name):
            raise EncoderMismatchError(
                f"{where} was made with the encoder {stored.encoder.name!r}, not {self.name!r}: "
                "embeddings of two models cannot be compared"
            )
        for what in ("dim", "metric", "funnel"):
            asked, there = getattr(self, what), getattr(stored, what)
            if asked is not None and asked != there:
                raise ValueError(f"{where} was made with {what}='{there}', not '{asked}'")
        if self.passages_given and self.passages != stored.passages:
            raise ValueError(
                f"{where} was made with passages={stored.passages!r}, not {self.passages!r}"
            )
