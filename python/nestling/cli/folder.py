"""An index with its texts beside it: the folder that `nestling index` writes.

| file | what |
|---|---|
| vectors.nest | the index; row i is document i |
| texts.jsonl | one document a line, in row order: `id`, `title`, `text` |
| texts.offsets.npy | (rows + 1,) int64: where each line of texts.jsonl begins, then its length |
| corpus.json | the format's version, the encoder's name, precision and fingerprint, counts |

An index of bare vectors has no texts and no encoder: in a folder of its own, or as one .nest file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nestling.corpus import Document
from nestling.errors import FormatError, StorageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nestling.index import Index
    from nestling.models.cards import Precision

__all__ = [
    "CORPUS_FILE",
    "VECTORS_FILE",
    "Corpus",
    "IndexFolder",
    "Texts",
    "is_index",
    "open_index",
]

VECTORS_FILE: Final = "vectors.nest"
TEXTS_FILE: Final = "texts.jsonl"
OFFSETS_FILE: Final = "texts.offsets.npy"
CORPUS_FILE: Final = "corpus.json"
FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Corpus:
    """What corpus.json says.

    Attributes:
        rows: Documents, and rows of the index.
        encoder: Name of the encoder to ask with; None for bare vectors.
        precision: Of the encoder's weights; None for bare vectors.
        fingerprint: Of the encoder's files; None for bare vectors.
        truncated: Documents longer than the encoder reads, of which only the start is found.
        format: Version of the folder's layout.
    """

    rows: int
    encoder: str | None = None
    precision: Precision | None = None
    fingerprint: str | None = None
    truncated: int = 0
    format: int = FORMAT_VERSION

    def save(self, folder: Path) -> None:
        """Writes corpus.json into `folder`."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (folder / CORPUS_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        """Reads corpus.json from `folder`.

        Raises:
            FormatError: There is none, or it is not one, or of another version.
        """
        path = folder / CORPUS_FILE
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise FormatError(
                f"{folder}: not an index folder ({CORPUS_FILE} is missing); "
                f"make one with: nestling index {folder} --out FOLDER"
            ) from error
        except ValueError as error:
            raise FormatError(f"{path}: not JSON: {error}") from error
        version = record.get("format") if isinstance(record, dict) else None
        if version != FORMAT_VERSION:
            raise FormatError(
                f"{path}: format {version!r}, but this nestling reads {FORMAT_VERSION}"
            )
        known = {field.name for field in fields(cls)}
        if not isinstance(record.get("rows"), int) or not record.keys() <= known:
            raise FormatError(f"{path}: not the fields of an index folder")
        return cls(**record)


@dataclass(frozen=True, slots=True)
class Texts:
    """The documents of an index folder, read from disk as they are asked for.

    Attributes:
        path: texts.jsonl.
        offsets: (rows + 1,) int64; line i is the bytes from offsets[i] to offsets[i + 1].
    """

    path: Path
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def write(cls, folder: Path, documents: Iterable[Document]) -> Texts:
        """Writes texts.jsonl and its offsets into `folder`."""
        import numpy as np

        offsets = [0]
        with (folder / TEXTS_FILE).open("wb") as stream:
            for document in documents:
                record = {"id": document.id, "title": document.title, "text": document.text}
                # Half a surrogate pair has no UTF-8; a backslash escape of it is JSON.
                line = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace")
                offsets.append(offsets[-1] + stream.write(line + b"\n"))
        np.save(folder / OFFSETS_FILE, np.array(offsets, dtype=np.int64))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Texts:
        """Opens the texts of `folder`.

        Raises:
            FormatError: The two files are not there, or do not belong together.
        """
        import numpy as np

        path = folder / TEXTS_FILE
        try:
            offsets = np.load(folder / OFFSETS_FILE, mmap_mode="r", allow_pickle=False)
            size = path.stat().st_size
        except FileNotFoundError as error:
            raise FormatError(f"{folder}: the texts are missing: {error.filename}") from error
        except (ValueError, EOFError) as error:
            raise FormatError(f"{folder / OFFSETS_FILE}: not an array: {error}") from error
        if offsets.ndim != 1 or offsets.dtype != np.int64 or not len(offsets):
            raise FormatError(f"{folder / OFFSETS_FILE}: not the offsets of texts")
        if offsets[0] != 0 or offsets[-1] != size:
            raise FormatError(f"{path}: {size} bytes, but its offsets say {offsets[-1]}")
        return cls(path, offsets)

    def read(self, rows: Iterable[int]) -> Iterator[Document]:
        """Yields the documents of `rows`, in that order.

        Raises:
            FormatError: A line is not the one that was written there.
        """
        with self.path.open("rb") as stream:
            for row in rows:
                start, end = int(self.offsets[row]), int(self.offsets[row + 1])
                stream.seek(start)
                try:
                    record: dict[str, Any] = json.loads(stream.read(end - start))
                    yield Document(record["text"], id=record["id"], title=record["title"])
                except (ValueError, LookupError, TypeError) as error:
                    raise FormatError(f"{self.path}, line {row + 1}: altered: {error}") from error


@dataclass(frozen=True, slots=True)
class IndexFolder:
    """An index that has been opened, with what was beside it.

    Attributes:
        index: The index.
        corpus: What corpus.json said; for a bare .nest file, its rows and no encoder.
        texts: The documents; None for bare vectors.
    """

    index: Index
    corpus: Corpus
    texts: Texts | None

    def documents(self, rows: Sequence[int]) -> list[Document | None]:
        """Returns the document of each row; None for bare vectors."""
        return [None] * len(rows) if self.texts is None else list(self.texts.read(rows))


def is_index(path: Path) -> bool:
    """Returns whether `path` looks like what `nestling index` writes."""
    return (path / CORPUS_FILE).is_file() if path.is_dir() else path.suffix == ".nest"


def open_index(path: Path, *, threads: int | None = None) -> IndexFolder:
    """Opens an index folder, or a bare .nest file.

    Raises:
        StorageError: Nothing is there.
        FormatError: What is there is no index, or not whole.
    """
    from nestling.index import Index

    if not path.exists():
        raise StorageError(
            f"{path}: no such index; make one with: nestling index CORPUS --out {path}"
        )
    if path.is_file():
        index = Index.load(path, threads=threads)
        return IndexFolder(index, Corpus(rows=len(index)), None)
    corpus = Corpus.load(path)
    if not (path / VECTORS_FILE).is_file():
        raise FormatError(f"{path}: {VECTORS_FILE} is missing")
    index = Index.load(path / VECTORS_FILE, threads=threads)
    texts = Texts.open(path) if corpus.encoder is not None else None
    if len(index) != corpus.rows or (texts is not None and len(texts) != corpus.rows):
        held = "" if texts is None else f" and {len(texts):,} texts"
        raise FormatError(
            f"{path}: {CORPUS_FILE} says {corpus.rows:,} rows, but there are {len(index):,}{held}"
        )
    return IndexFolder(index, corpus, texts)
