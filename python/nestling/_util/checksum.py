"""SHA-256 of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["sha256_of"]


def sha256_of(path: Path) -> str:
    """Returns the hexadecimal SHA-256 of a file.

    Example:
        >>> _ = Path("empty").write_bytes(b"")
        >>> sha256_of(Path("empty"))[:8]
        'e3b0c442'
    """
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()
