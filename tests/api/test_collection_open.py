"""Opening a collection: new, again, with other settings, read-only; and closing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from collection_helpers import FUNNEL, PASSAGES, WordsEncoder, contents, opened

from nestling import Collection, EncoderMismatchError, FormatError, NestlingError, StorageError
from nestling.collection import Passages, is_collection
from nestling.errors import ArgumentError, ArgumentTypeError, ClosedError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with opened(tmp_path / "c", fields=["n"]) as collection:
        collection.add(["apple"], ["a"], [{"n": 1}])
    return tmp_path / "c"


def other_print() -> WordsEncoder:
    encoder = WordsEncoder()
    encoder.fingerprint = "f" * 16
    return encoder


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"dim": 8}, ArgumentError, "dim=16"),
        ({"metric": "ip"}, ArgumentError, "metric='cosine'"),
        ({"metric": "l2"}, ArgumentError, "metric must be one of"),
        ({"funnel": "16@32"}, ArgumentError, "funnel="),
        ({"passages": None}, ArgumentError, "passages="),
        ({"passages": Passages(10, 0)}, ArgumentError, "passages="),
        ({"passages": "words"}, ArgumentTypeError, "passages must be"),
        ({"encoder": other_print()}, EncoderMismatchError, "fingerprint"),
        ({"encoder": WordsEncoder(dim=8)}, EncoderMismatchError, "16 dimensions"),
        ({"encoder": "another"}, EncoderMismatchError, "'another'"),
        ({"encoder": object()}, ArgumentTypeError, "not an encoder"),
        ({"fields": "n"}, ArgumentTypeError, "list of names"),
    ],
)
def test_settings_that_differ_from_the_stored_ones_raise(
    path: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Collection(path, **options)


def test_the_same_settings_reopen_it(path: Path) -> None:
    with Collection(
        path, WordsEncoder(), dim=16, metric="cosine", funnel=FUNNEL, passages=PASSAGES
    ) as collection:
        assert contents(collection).keys() == {"a"}
        assert collection.encoder is not None
        assert collection.encoder.name == "words"
    with Collection(path, fields=["m", "n"]) as collection:
        assert collection.fields == ("n", "m")


def test_documents_are_split_by_default_and_kept_whole_on_request(tmp_path: Path) -> None:
    text = "A sentence of some words. " * 100
    options: dict[str, Any]
    for name, options, passages in (
        ("default", {}, 3),
        ("whole", {"passages": None}, 1),
        ("small", {"passages": Passages(500, 0)}, 6),
    ):
        path = tmp_path / name
        with Collection(path, WordsEncoder(), **options) as collection:
            assert collection.add([text]).passages == passages
        with Collection(path, WordsEncoder()) as collection:
            assert collection.info().split == options.get("passages", Passages())


def test_arguments_after_the_encoder_have_names(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="positional"):
        Collection(tmp_path / "c", WordsEncoder(), True)  # type: ignore[misc]


def test_no_collection_is_created_unless_requested(tmp_path: Path) -> None:
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(FormatError, match="there is no collection"):
            Collection(tmp_path / "no", WordsEncoder(), **options)  # type: ignore[arg-type]
    assert not (tmp_path / "no").exists()
    with pytest.raises(NestlingError):
        Collection(tmp_path / "no", dim=4, funnel="8@32")
    assert not (tmp_path / "no").exists(), "settings that do not fit leave no folder"
    with opened(tmp_path / "no" / "deeper") as collection:
        assert is_collection(collection.path)


def test_read_only_refuses_every_change(path: Path) -> None:
    with opened(path, read_only=True, fields=["new"]) as collection:
        assert collection.read_only
        assert collection.fields == ("n",)
        for change in (
            lambda: collection.add(["x"]),
            lambda: collection.upsert(["x"]),
            lambda: collection.delete("a"),
            lambda: collection.declare("m"),
            lambda: collection.compact(),
            lambda: collection.compact(wait=False),
            lambda: collection.tune(),
            lambda: collection.import_file("x.jsonl"),
        ):
            with pytest.raises(StorageError, match="read-only"):
                change()
        assert collection.search("apple")[0].id == "a"
        assert collection.check().ok


def test_every_call_on_a_closed_collection_raises(path: Path) -> None:
    collection = opened(path)
    collection.close()
    collection.close()
    for call in (
        lambda: collection.search("apple"),
        lambda: collection.get("a"),
        lambda: len(collection),
        lambda: list(collection),
        lambda: "a" in collection,
        lambda: collection.add(["x"]),
        lambda: collection.delete("a"),
        lambda: collection.compact(),
        lambda: collection.compact(wait=False).result(10),
        lambda: collection.check(),
    ):
        with pytest.raises(ClosedError, match="closed"):
            call()
    assert "closed" in repr(collection)
    assert issubclass(ClosedError, ValueError)
    assert issubclass(ArgumentError, ValueError)
    assert issubclass(ArgumentTypeError, TypeError)


def test_an_iteration_outlives_changes(path: Path) -> None:
    with opened(path) as collection:
        collection.add([f"bread {i}" for i in range(2_500)], range(2_500))
        seen = []
        for number, document in enumerate(collection):
            seen.append(document.id)
            if number == 10:
                collection.delete([str(i) for i in range(2_000, 2_500)])
                collection.compact()
        assert len(seen) == len(set(seen)) == 2_001
