"""The tensors of a safetensors checkpoint, read one at a time."""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.errors import ModelError
from nestling.models.source import INDEX, shards, weight_files
from nestling.runtime.weights import FLOATS, as_float32

__all__ = ["Weights"]

_TYPES: Final = FLOATS | {"I64": "<i8", "I32": "<i4", "I8": "i1", "U8": "u1"}
_SIZE: Final = struct.Struct("<Q")  # bytes of the header, before it
_LONGEST_HEADER: Final = 100_000_000  # as in the safetensors library


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Where a tensor is."""

    content: mmap.mmap
    file: Path
    name: str
    kind: str
    shape: tuple[int, ...]
    start: int

    def read(self) -> NDArray[Any]:
        count = int(np.prod(self.shape, dtype=np.int64))
        array: NDArray[Any] = np.frombuffer(self.content, _TYPES[self.kind], count, self.start)
        return array.reshape(self.shape)


class Weights(Mapping[str, NDArray[np.float32]]):
    """The tensors of a checkpoint by name, as float32.

    The files are mapped into memory and a tensor is converted when it is asked for, so a model
    larger than memory can be converted.

    Example:
        >>> from safetensors.numpy import save_file
        >>> save_file({"bert.norm": np.ones(2, np.float16)}, "model.safetensors")
        >>> weights = Weights.open(Path()).below("norm")
        >>> weights["norm"]
        array([1., 1.], dtype=float32)
        >>> weights["bias"]
        Traceback (most recent call last):
        nestling.errors.ModelError: the checkpoint lacks the tensor 'bert.bias'
    """

    def __init__(
        self,
        tensors: Mapping[str, _Tensor],
        prefix: str = "",
        on_read: Callable[[], None] | None = None,
    ) -> None:
        self._tensors = tensors
        self._prefix = prefix
        self._on_read = on_read
        self._used: set[str] = set()

    @classmethod
    def open(cls, folder: Path) -> Weights:
        """Opens the checkpoint of a folder, of one file or of several that an index lists.

        Raises:
            ModelError: There is none, or it is malformed or truncated.
        """
        tensors: dict[str, _Tensor] = {}
        for path in weight_files(folder):
            tensors.update(_read_header(path))
        if (folder / INDEX).is_file():
            missing = sorted(shards(folder).keys() - tensors.keys())
            if missing:
                raise ModelError(f"{folder / INDEX} lists {_listed(missing)}, which no file holds")
        return cls(tensors)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        tensor = self._find(name)
        if tensor.kind not in FLOATS:
            raise ModelError(
                f"{tensor.file}: the tensor {tensor.name!r} has the type {tensor.kind}, not one "
                f"of {', '.join(FLOATS)}: quantized checkpoints cannot be converted; use the "
                "model that it was made from"
            )
        return as_float32(tensor.read(), tensor.kind)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def numbers(self, name: str) -> NDArray[Any]:
        """Returns a tensor in its own type, which may be of integers; bfloat16 becomes float32."""
        tensor = self._find(name)
        return self[name] if tensor.kind not in _TYPES or tensor.kind == "BF16" else tensor.read()

    def optional(self, name: str) -> NDArray[np.float32] | None:
        """Returns a tensor, or None where the checkpoint has none of this name."""
        return self[name] if name in self._tensors else None

    def below(self, anchor: str) -> Weights:
        """Returns the tensors that share the prefix of the one named `anchor`, without the prefix.

        Checkpoints of the same network differ by a prefix ("bert.", "model.", …), which depends on
        the class that saved them. What has another prefix belongs to a head, and is left out.

        Raises:
            ModelError: No tensor has this name, or several have.
        """
        found = [name for name in self._tensors if f".{name}".endswith(f".{anchor}")]
        if len(found) != 1:
            have = _listed(sorted(self._tensors)) if not found else _listed(sorted(found))
            raise ModelError(
                f"the checkpoint should hold one tensor {anchor!r}, with or without a prefix; "
                f"it holds {have}"
            )
        prefix = found[0].removesuffix(anchor)
        below = (name for name in self._tensors if name.startswith(prefix))
        inside = {name.removeprefix(prefix): self._tensors[name] for name in below}
        return Weights(inside, prefix, self._on_read)

    def renamed(self, rename: Callable[[str], str]) -> Weights:
        """Returns the tensors under other names."""
        renamed = {rename(name): tensor for name, tensor in self._tensors.items()}
        return Weights(renamed, self._prefix, self._on_read)

    def reporting(self, on_read: Callable[[], None]) -> Weights:
        """Returns the same tensors, with a function to call for each at its first use."""
        return Weights(self._tensors, self._prefix, on_read)

    def unused(self) -> list[str]:
        """Returns the names of tensors that nobody has asked for, in order, without the prefix."""
        return sorted(self._tensors.keys() - self._used)

    def _find(self, name: str) -> _Tensor:
        if name not in self._tensors:
            raise ModelError(f"the checkpoint lacks the tensor {self._prefix + name!r}")
        if name not in self._used:
            self._used.add(name)
            if self._on_read is not None:
                self._on_read()
        return self._tensors[name]


def _read_header(path: Path) -> dict[str, _Tensor]:
    """Returns the tensors of one file."""
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        (size,) = _SIZE.unpack_from(content)
        start = _SIZE.size + size
        if size > _LONGEST_HEADER or start > len(content):
            raise ValueError("the header is longer than the file")
        header = json.loads(content[_SIZE.size : start])
        header.pop("__metadata__", None)
        tensors = {}
        for name, entry in header.items():
            shape = tuple(int(length) for length in entry["shape"])
            first, last = entry["data_offsets"]
            kind = entry["dtype"]
            if not 0 <= first <= last <= len(content) - start or min(shape, default=0) < 0:
                raise ValueError(f"{name} is not inside the file, which may be truncated")
            if kind in _TYPES:
                item = np.dtype(_TYPES[kind]).itemsize
                if int(np.prod(shape, dtype=np.int64)) * item != last - first:
                    raise ValueError(f"{name} has another size than its shape")
            tensors[name] = _Tensor(content, path, name, kind, shape, start + first)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(f"{path} is not a complete safetensors file: {error}") from error
    return tensors


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
