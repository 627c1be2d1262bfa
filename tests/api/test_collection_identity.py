"""Which encoder a collection takes: the one that made it, and no other."""

from __future__ import annotations

import copy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hashing_encoder import HashingEncoder
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nestling import Collection, Encoder, EncoderMismatchError
from nestling.collection import EncoderIdentity, repair
from nestling.collection.ingest.identity import EncoderKind
from nestling.errors import ArgumentError, ArgumentTypeError, ModelNotFoundError
from nestling.runtime.text_encoder import class_path, settings_digest

MakeFolder = Callable[..., Path]


class Plain:
    """An encoder with the attributes that it is given."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update({"dim": 4, **attributes})

    def encode(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = HashingEncoder(dim=self.__dict__["dim"]).encode(texts)
        return vectors

    encode_queries = encode


class Other(Plain):
    """Another class."""


class Outer:
    class Plain(Plain):
        """Another class of the same name."""


CLASSES = (Plain, Other, Outer.Plain)
SAMPLES = {"model": "m", "revision": "1", "dimensions": 8, "normalize": True, "prompt": "query: "}


@st.composite
def encoders(draw: st.DrawFn) -> Any:
    chosen: dict[str, Any] = {"dim": draw(st.integers(1, 3))}
    names = st.sampled_from(["wordllama", "minilm", "a", "a:1", "", "نهر", '"]', "\ud800"])
    for key, values in (("name", names), ("fingerprint", names)):
        if draw(st.booleans()):
            chosen[key] = draw(values)
    for key, value in SAMPLES.items():
        if draw(st.integers(0, 3)) == 0:
            chosen[key] = draw(st.sampled_from([value, "other"]))
    return draw(st.sampled_from(CLASSES))(**chosen)


def told_apart(encoder: Any) -> tuple[object, ...]:
    """What an encoder is known by, written down apart from the code under test."""
    own = vars(encoder)
    settings = {name: own[name] for name in SAMPLES if name in own}
    return (
        type(encoder),
        own.get("name", type(encoder).__qualname__),
        own["dim"],
        own.get("fingerprint", settings or None),
    )


def check_refusals(first: Any, second: Any) -> None:
    same = told_apart(first) == told_apart(second)
    with tempfile.TemporaryDirectory() as folder:
        for made, offered in ((first, second), (second, first)):
            path = Path(folder) / str(made is first)
            Collection(path, made).close()
            Collection(path, copy.copy(made)).close()
            if same:
                Collection(path, offered).close()
            else:
                with pytest.raises(EncoderMismatchError):
                    Collection(path, offered)


@settings(max_examples=25, deadline=None)
@given(encoders(), encoders())
@example(Plain(name="wordllama"), Plain(name="minilm"))
@example(Plain(fingerprint="a"), Plain())
@example(Plain(name="a:1", fingerprint=""), Plain(name="a", fingerprint="1:"))
def test_two_encoders_that_differ_are_refused_for_each_others_collections(
    first: Any, second: Any
) -> None:
    check_refusals(first, second)


@pytest.mark.slow
@settings(max_examples=2_000, deadline=None)
@given(encoders(), encoders())
def test_many_encoders_that_differ_are_refused(first: Any, second: Any) -> None:
    check_refusals(first, second)


texts = st.text(max_size=5) | st.none()


@settings(max_examples=50)
@given(
    *(
        st.builds(
            EncoderIdentity,
            st.text(max_size=5),
            st.integers(1, 3),
            st.sampled_from(["built-in", "object"]),
            class_path=texts,
            fingerprint=texts,
        )
        for _ in range(2)
    )
)
def test_keys_differ_where_encoders_do(first: EncoderIdentity, second: EncoderIdentity) -> None:
    def parts(one: EncoderIdentity) -> tuple[object, ...]:
        return one.kind, one.class_path, one.name, one.dim, one.fingerprint

    if first.kind == second.kind == "object":
        assert (first.key == second.key) == (parts(first) == parts(second))
    elif first.kind != second.kind and None not in (first.fingerprint, second.fingerprint):
        model = first if first.is_model else second
        other = second if first.is_model else first
        assert model.key != other.key or model.fingerprint == other.key


def test_an_object_named_as_a_built_in_model_is_not_that_model(tmp_path: Path) -> None:
    with Collection(tmp_path / "c", Plain(name="wordllama", dim=256)) as made:
        made.add(["bread is made of flour", "water is wet"])
        vector = made.search("bread flour", k=1, include=["vector"])[0].vector
    with Collection(tmp_path / "c") as again:
        assert again.encoder is not None
        assert (again.encoder.kind, again.encoder.name) == ("object", "wordllama")
        for call in (
            lambda: again.search("bread"),
            lambda: again.search("bread", mode="hybrid"),
            lambda: again.add("more bread"),
            lambda: again.tune(queries=["bread"]),
        ):
            with pytest.raises(ModelNotFoundError, match=r"of your own, .*\.Plain: give it"):
                call()
        assert again.search(vector, k=1)[0].text == "bread is made of flour"
        assert again.search("bread", mode="lexical")[0].text == "bread is made of flour"
        assert again.search("bread", mode="hybrid", vectors=vector)[0].text.startswith("bread")
        assert again.add("rye", vectors=vector).added == 1
        assert again.count() == 3
    with pytest.raises(EncoderMismatchError, match="not 'wordllama'"):
        Collection(tmp_path / "c", "wordllama")
    with Collection(tmp_path / "c", Plain(name="wordllama", dim=256)) as again:
        assert again.search("bread flour", k=1)[0].score > 0.5


def test_a_name_is_not_an_object_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nestling.encoder.Encoder", HashingEncoder)
    Collection(tmp_path / "c", "minilm").close()
    with pytest.raises(EncoderMismatchError, match="the model 'minilm'"):
        Collection(tmp_path / "c", Plain(name="minilm", dim=256))

    class Wrapper(HashingEncoder):
        """Calls itself what it wraps, down to the fingerprint."""

    with pytest.raises(EncoderMismatchError):
        Collection(tmp_path / "c", Wrapper("minilm"))
    Collection(tmp_path / "c", HashingEncoder("minilm")).close()


def test_the_caller_may_vouch_for_an_encoder(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with Collection(path, Plain()) as made:
        made.add(["bread", "water"])
    with Collection(path, Other(), same_encoder=True, read_only=True) as reading:
        assert reading.search("bread", k=1)[0].text == "bread"
    with pytest.raises(EncoderMismatchError, match=r"Plain, not the encoder .*Other"):
        Collection(path, Other())
    with pytest.raises(EncoderMismatchError, match="4 dimensions"):
        Collection(path, Other(dim=5), same_encoder=True)
    with Collection(path, Other(), same_encoder=True) as moved:
        assert moved.encoder == EncoderIdentity.of(Other())
        assert moved.check().ok
    with Collection(path, Other()) as moved:
        assert moved.search("bread", k=1)[0].text == "bread"
    with pytest.raises(EncoderMismatchError):
        Collection(path, Plain())


def test_vectors_get_the_encoder_that_made_them(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with Collection(path, dim=4) as bare:
        bare.add(["bread", "water"], vectors=Plain().encode(["bread", "water"]))
    with pytest.raises(EncoderMismatchError, match="same_encoder=True"):
        Collection(path, Plain())
    with Collection(path, Plain(), same_encoder=True) as made:
        assert made.search("bread", k=1)[0].text == "bread"
    with Collection(path, Plain()) as made:
        assert made.search("water", k=1)[0].text == "water"


def test_exported_vectors_are_not_imported_for_another_encoder(tmp_path: Path) -> None:
    with Collection(tmp_path / "a", Plain(name="one")) as made:
        made.add(["bread", "water"])
        made.export(tmp_path / "out.jsonl")
    with Collection(tmp_path / "b", Plain(name="one")) as same:
        assert same.import_file(tmp_path / "out.jsonl").added == 2
    for other in (Plain(name="two"), Plain(), Other(name="one"), Plain(name="one", model="m")):
        with (
            Collection(tmp_path / "c", other) as another,
            pytest.raises(EncoderMismatchError, match=r"documents\[0\].*'?one"),
        ):
            another.import_file(tmp_path / "out.jsonl")
        for path in sorted((tmp_path / "c").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()


def test_a_repair_takes_no_other_encoder(tmp_path: Path) -> None:
    with Collection(tmp_path / "c", Plain(name="one")) as made:
        made.add(["bread", "water"])
        made.compact()
    (segment,) = (tmp_path / "c" / "segments").glob("*.nest")
    segment.unlink()
    with pytest.raises(EncoderMismatchError):
        repair(tmp_path / "c", encoder=Plain(name="two"))
    with pytest.raises(ModelNotFoundError, match="give it"):
        repair(tmp_path / "c")
    assert repair(tmp_path / "c", encoder=Plain(name="one")) == [segment.name]


SCRIPT = """
import sys
import nestling
class Words:
    name, model = "words", {"b": 1, "a": [2.5, None]}
    dim = 4
    def encode(self, texts):
        return [[1.0, 0, 0, len(text)] for text in texts]
    encode_queries = encode
if __name__ == "__main__":
    with nestling.Collection(sys.argv[1], Words()) as collection:
        collection.add(["bread"], progress=False)
"""


def test_it_is_the_same_in_another_process_however_its_file_is_run(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(SCRIPT)
    commands = (
        ["words.py", "c"],
        ["-m", "words", "c"],
        ["-c", "import words, nestling; nestling.Collection('c', words.Words()).close()"],
    )
    for seed, command in enumerate(commands):
        environment = {"PYTHONHASHSEED": str(seed), "PYTHONPATH": ":".join(sys.path)}
        subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, check=True)
    with Collection(tmp_path / "c") as collection:
        assert collection.encoder is not None
        assert collection.encoder.class_path == "words.Words"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_key", "secret"),
        ("timeout", 3.5),
        ("batch_size", 8),
        ("device", "cuda"),
        ("cache", object()),
        ("model", None),
        ("revision", None),
        ("callback", print),
        ("client", SimpleNamespace(host="a")),
    ],
)
def test_settings_that_leave_the_vectors_alone_do_not_count(name: str, value: object) -> None:
    assert settings_digest(Plain(**{name: value})) == settings_digest(Plain())


def test_a_model_within_an_encoder_counts_by_what_names_it() -> None:
    held = [
        Plain(encoder=Plain(model="a")),
        Plain(encoder=Plain(model="b")),
        Plain(encoder=Other(model="b")),
        Plain(model=SimpleNamespace(name_or_path="a")),
        Plain(model=SimpleNamespace(name_or_path="b")),
        Plain(model=Path("a")),
        Plain(prompts={"query": "q: "}),
        Plain(prompts={"query": "p: "}),
        Plain(),
    ]
    assert len({settings_digest(encoder) for encoder in held}) == len(held)
    circle = Plain(model=[])
    circle.__dict__["encoder"] = circle.__dict__["source"] = circle
    circle.__dict__["model"].append(circle.__dict__["model"])
    assert settings_digest(circle) == settings_digest(circle)


def test_a_property_that_raises_is_no_setting() -> None:
    class Raising(Plain):
        @property
        def model(self) -> str:
            raise RuntimeError("not loaded")

    assert settings_digest(Raising()) == settings_digest(Plain())


def test_attributes_of_wrong_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="fingerprint must be a string, not bytes"):
        Collection(tmp_path / "c", Plain(fingerprint=b"abc"))
    for dim in (0, -1, "4", 4.0):
        with pytest.raises(ArgumentError, match="dim must be"):
            Collection(tmp_path / "c", Plain(dim=dim))
    assert not (tmp_path / "c").exists()
    with Collection(tmp_path / "c", Plain(dim=np.int64(4))) as made:
        assert made.encoder is not None
        assert type(made.encoder.dim) is int


def test_a_class_has_the_path_that_imports_it() -> None:
    assert class_path(Outer.Plain) == f"{__name__}.Outer.Plain"


@pytest.mark.parametrize(
    "attributes", [{"name": 3}, {"name": "nested", "nested": False, "precision": "float32"}]
)
def test_attributes_of_models_make_no_model_of_an_object(
    tmp_path: Path, attributes: dict[str, Any]
) -> None:
    with Collection(tmp_path / "c", Plain(source="minilm", **attributes)) as made:
        assert made.encoder is not None
        assert made.encoder.kind == "object"
        assert made.encoder.precision is None


def kind_of(collection: Collection) -> EncoderKind:
    assert collection.encoder is not None
    return collection.encoder.kind


def test_a_model_folder_may_move(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(name="one")
    with Collection(tmp_path / "c", Encoder(folder)) as made:
        made.add(["cat dog", "sun moon"])
        assert kind_of(made) == "folder"
    with Collection(tmp_path / "c") as again:
        assert again.search("cat", k=1)[0].text == "cat dog"
    moved = folder.rename(folder.with_name("moved"))
    with Collection(tmp_path / "c") as lost, pytest.raises(ModelNotFoundError, match="one"):
        lost.search("cat")
    for one in (moved, str(moved), Encoder(moved)):
        with Collection(tmp_path / "c", one) as again:
            assert again.search("cat", k=1)[0].text == "cat dog"
    Collection(tmp_path / "c", moved, same_encoder=True).close()
    with Collection(tmp_path / "c") as again:
        assert again.search("cat", k=1)[0].text == "cat dog"

    class Subclass(Encoder):
        """It may encode in another way."""

    with pytest.raises(EncoderMismatchError, match="Subclass"):
        Collection(tmp_path / "c", Subclass(moved))
    tokenizer = moved / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes() + b"\n")
    with pytest.raises(EncoderMismatchError, match="fingerprint"):
        Collection(tmp_path / "c", Encoder(moved))
    with Collection(tmp_path / "c") as again, pytest.raises(EncoderMismatchError):
        again.search("cat")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("nestling.json", '{"layer_norm": true}'),
        ("nestling.json", '{"special_tokens": false}'),
        ("config_sentence_transformers.json", '{"prompts": {"query": "ask: "}}'),
        ("config_sentence_transformers.json", '{"prompts": {"document": "say: "}}'),
    ],
)
def test_settings_of_a_model_folder_are_in_its_fingerprint(
    make_folder: MakeFolder, file: str, content: str
) -> None:
    folder = make_folder()
    before = Encoder(folder).fingerprint
    (folder / file).write_text(content)
    assert Encoder(folder).fingerprint != before
