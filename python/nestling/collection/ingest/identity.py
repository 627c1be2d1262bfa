"""The identity of an encoder: what a collection stores of it, and compares at every opening."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nestling._util.value import Value
from nestling.errors import ArgumentTypeError, EncoderMismatchError
from nestling.index.arguments import positive
from nestling.runtime.text_encoder import (
    TextEncoder,
    class_path,
    encoder_name,
    settings_digest,
)

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from nestling.encoder import Encoder
    from nestling.runtime.folder import Precision

__all__ = ["EncoderIdentity", "EncoderKind", "is_model_encoder"]

EncoderKind = Literal["built-in", "folder", "hub", "object"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EncoderIdentity(Value):
    """What a collection stores about its encoder.

    Two models that nestling runs are the same if their fingerprints are: a folder may move. Two
    objects of other classes are the same if class, name and fingerprint are.

    Attributes:
        name: Built-in name, absolute folder, hub id, or the `name` of an object; the name of its
            class if it has none.
        dim: Dimensions of its embeddings.
        kind: "built-in", "folder" or "hub" for a model that nestling opens by its name; "object"
            for an encoder of another class, which must be given at every opening.
        class_path: Import path of an object's class; None for a model.
        precision: "int8" or "float32"; None for an object.
        nested: Whether it is the nested form of a built-in model.
        fingerprint: Digest of a model's files and settings. Of an object, its `fingerprint`; else a
            digest of the attributes that name what it runs (`settings_digest`), or None.
        overrides: Of a model, the arguments of `Encoder` that stand in for settings of its files.

    Example:
        >>> EncoderIdentity("minilm", dim=384, kind="built-in", precision="int8").as_dict()["dim"]
        384
    """

    name: str
    dim: int
    kind: EncoderKind
    class_path: str | None = None
    precision: str | None = None
    nested: bool = True
    fingerprint: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, encoder: TextEncoder) -> EncoderIdentity:
        """Returns the identity of an encoder.

        Raises:
            ArgumentTypeError: Its `dim` is not a whole number, or its `fingerprint` not a string.
            ArgumentError: Its `dim` is less than 1.

        Example:
            >>> class Zeros:
            ...     name, dim = "zeros", 4
            ...     def encode(self, texts):
            ...         return [[0.0] * 4 for _ in texts]
            ...     encode_queries = encode
            >>> EncoderIdentity.of(Zeros()).name
            'zeros'
        """
        dim = positive("the encoder's dim", encoder.dim)
        if is_model_encoder(encoder):
            from nestling.models.locate import source_kind

            return cls(
                encoder.source,
                dim,
                source_kind(encoder.source),
                precision=encoder.precision,
                nested=encoder.nested,
                fingerprint=encoder.fingerprint,
                overrides=encoder.overrides.given(),
            )
        fingerprint = getattr(encoder, "fingerprint", None)
        if fingerprint is None:  # name and dim are compared on their own
            fingerprint = settings_digest(encoder, without=("name", "dim"))
        if not (fingerprint is None or isinstance(fingerprint, str)):
            raise ArgumentTypeError(
                f"the encoder's fingerprint must be a string, not {type(fingerprint).__name__}"
            )
        path = getattr(encoder, "class_path", None)
        return cls(
            encoder_name(encoder),
            dim,
            "object",
            class_path=path if isinstance(path, str) else class_path(type(encoder)),
            fingerprint=fingerprint,
        )

    def __str__(self) -> str:
        details = [] if self.fingerprint is None else [f"fingerprint {self.fingerprint}"]
        if self.class_path is None:
            title = f"the model {self.name!r}"
        else:
            title = f"the encoder {self.class_path}"
            if self.name != self.class_path.rpartition(".")[2]:
                details.insert(0, f"name {self.name!r}")
        return f"{title} ({', '.join(details)})" if details else title

    @property
    def is_model(self) -> bool:
        """Whether nestling can open it by its name."""
        return self.kind != "object"

    @property
    def key(self) -> str:
        """A string that another encoder does not have; exported vectors carry it.

        Example:
            >>> EncoderIdentity("zeros", 4, "object", class_path="mine.Zeros").key
            '["mine.Zeros", "zeros", 4, null]'
        """
        if self.is_model and self.fingerprint is not None:
            return self.fingerprint
        return json.dumps([self.class_path, self.name, self.dim, self.fingerprint])

    def as_dict(self) -> dict[str, Any]:
        """Returns the identity as JSON values.

        Example:
            >>> EncoderIdentity("letters", dim=2, kind="object").as_dict()["name"]
            'letters'
        """
        return asdict(self)

    def open(self, threads: int | None = None) -> Encoder:
        """Opens the model.

        Args:
            threads: Threads that it may use; None for the default.

        Raises:
            ModelError: It cannot be loaded.

        Example:
            >>> identity = EncoderIdentity("minilm", 384, "built-in", precision="int8")
            >>> identity.open().dim  # doctest: +MODEL
            384
        """
        from nestling.encoder import Encoder

        precision: Precision = "float32" if self.precision == "float32" else "int8"
        return Encoder(
            self.name, precision=precision, threads=threads, nested=self.nested, **self.overrides
        )

    def check(self, other: EncoderIdentity, where: str) -> None:
        """Raises an error unless `other` is the same encoder.

        Args:
            other: The identity of an encoder.
            where: What the error calls the collection.

        Raises:
            EncoderMismatchError: It is another one.

        Example:
            >>> ours = EncoderIdentity("letters", 2, "object", class_path="mine.Letters")
            >>> ours.check(ours, "notes")
            >>> ours.check(EncoderIdentity("minilm", 2, "built-in"), "notes")
            Traceback (most recent call last):
            nestling.errors.EncoderMismatchError: notes was made with the encoder mine.Letters ...
        """
        if other.dim != self.dim:
            raise EncoderMismatchError(
                f"{where} holds embeddings with {self.dim} dimensions of {self}, but this encoder "
                f"makes {other.dim}: use the encoder that made the collection"
            )
        if self.key != other.key:
            raise EncoderMismatchError(
                f"{where} was made with {self}, not {other}: embeddings of two encoders cannot be "
                "compared. Use the one that made the collection, or encode again: nestling export "
                "--no-vectors, then add. If both are the same, because a class was moved or a "
                "model renamed, say so once with same_encoder=True"
            )


def is_model_encoder(encoder: TextEncoder) -> TypeIs[Encoder]:
    """Returns whether an encoder is nestling's, which its name opens again.

    A subclass is not: its name would open the base. While the module is not imported, which takes a
    while, no object is an `Encoder`.
    """
    module = sys.modules.get("nestling.encoder")
    return module is not None and type(encoder) is module.Encoder
