"""What Python users expect of any object: pickle, copy, ==, hash and repr of all public classes."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hashing_encoder import HashingEncoder
from tiny_models import make_folder

import nestling
from nestling import Cells, Client, Collection, Encoder, Funnel, Hits, Index, Stage, StageStats
from nestling.client import RemoteCollection
from nestling.cluster import (
    BuildResult,
    BuildSettings,
    Cluster,
    ClusterHits,
    ClusterInfo,
    ClusterSettings,
    DatasetReport,
    FileEntry,
    LocalShard,
    Manifest,
    ShardCache,
    ShardEntry,
)
from nestling.cluster import Dataset as ShardDataset
from nestling.cluster.actors import Directory
from nestling.cluster.fanout import FanoutStatistics
from nestling.cluster.storage import Storage
from nestling.collection import (
    AddResult,
    CheckReport,
    CollectionInfo,
    CompactResult,
    DocumentHit,
    DocumentHits,
    DroppedHit,
    EncoderIdentity,
    Explanation,
    Passages,
    RankedScore,
    Snippet,
    StoredDocument,
    Survivors,
    Synonyms,
    WeightFit,
)
from nestling.corpus import Document, Fields
from nestling.corpus.log import ReadLog
from nestling.evaluation import Dataset, Embeddings, EvaluationSettings, Run, Table
from nestling.evaluation.judgements import Judgements
from nestling.evaluation.mteb import MtebEncoder, MtebIndex
from nestling.evaluation.table import Row
from nestling.inputs.bad_records import BadRecord
from nestling.models import ModelCard, ModelFolder, QueryEncoderCard
from nestling.models.adaptors import Adaptor
from nestling.models.cards import card
from nestling.models.convert import Conversion
from nestling.models.query_encoders import BundledRows
from nestling.runtime.modules import Pooling
from nestling.runtime.text_settings import TextSettings
from nestling.server import Catalog, ServerSettings
from nestling.training import (
    AdaptorReport,
    AdaptorSettings,
    FineTuneReport,
    FineTuneSettings,
    QueryEncoderReport,
    QueryEncoderSettings,
)
from nestling.tuning import Trial, TuneReport, TuningTarget

MANY = 100_000
MODULES = {"nestling", "nestling.errors", "nestling.evaluation.mteb"} | {
    module.name
    for module in pkgutil.walk_packages(nestling.__path__, "nestling.")
    if module.ispkg
    and module.name.split(".")[1] not in ("bench", "cli", "integrations")
    and not any(part.startswith("_") for part in module.name.split("."))
}


def public_classes() -> set[type]:
    found = set()
    for name in MODULES:
        module = importlib.import_module(name)
        found |= {
            v for v in (getattr(module, item) for item in module.__all__) if isinstance(v, type)
        }
    return {kind for kind in found if not getattr(kind, "_is_protocol", False)}


ERRORS = {kind for kind in public_classes() if issubclass(kind, BaseException)}


def index(n: int) -> Index:
    made = Index(2, funnel="2@8:10 > 2@32")
    made.add(np.random.default_rng(0).standard_normal((n, 2)))
    made.rebuild(cells=2, rotate=True)
    made.remove([1])
    return made


def document_hit(n: int) -> DocumentHit:
    spans = tuple((i, i + 1) for i in range(n))
    metadata = {"year": 2024, "tags": ["a"] * n, **{f"k{i}": float("nan") for i in range(n)}}
    vector = np.full(n, np.nan, np.float32)
    return DocumentHit("i" * n, 0.5, "t" * n, "u" * n, metadata, 0, 0, n, spans, "d" * n, vector)


def stages(n: int) -> tuple[StageStats, ...]:
    return (StageStats(4, 8, n, 5, 100, 1.5),) * min(n, 8)


def explanation(n: int) -> Explanation:
    dropped = (DroppedHit("i" * n, 3, 0),) * n
    return Explanation("hybrid", stages(n), dropped, {"dense": 1.0}, n, n)


def survivors(n: int) -> Survivors:
    hits = DocumentHits((document_hit(3),), explanation(3))
    numbers = np.arange(n, dtype=np.int64)
    vectors = np.ones((n, 2), np.float32)
    return Survivors(hits, ("i",) * n, numbers, numbers, vectors, np.ones(2, np.float32), n)


def dataset(n: int) -> Dataset:
    texts = {f"d{i}": "x" * 9 for i in range(n)}
    queries = {f"q{i}": "?" for i in range(n)}
    return Dataset.of("n" * n, texts, queries, [(f"q{i}", f"d{i}", 1) for i in range(n)])


def table(n: int) -> Table:
    row = Row("64@4", "codes", 64, 4, 40.0, None, {"ndcg@10": 0.5}, 0.9, None, {"x": np.ones(n)})
    return Table("d" * n, "m" * n, n, n, 0, 10, 1, 0, 1, 0.95, (row,) * n)


def trial(n: int) -> Trial:
    return Trial("2@8:10 > 2@32", Cells(n), True, False, 0.9, 0.8, 1e5, 0.1, 40.0, True)


def tune_report(n: int) -> TuneReport:
    one, all_ = trial(n), (trial(n),) * n
    return TuneReport(0.9, 10, "latency", True, one, one, all_, n, True, n, 2, 1.5, ("note",) * n)


def query_encoder_report(n: int) -> QueryEncoderReport:
    settings = QueryEncoderSettings(dims=range(1, n + 1))
    return QueryEncoderReport(
        model="m" * n, fingerprint="0" * 16, out="o" * n, texts=n, pieces=n, queries=0, held_out=n,
        settings=settings.as_dict(), rows=n, grams=n, pairs=n, size=n, seconds=1.0,
        cosines=dict.fromkeys(range(1, n + 1), 0.9), metric="ndcg@10", teacher=0.5, fast=0.4,
        refine_below=0.1, refined=0.2,
    )  # fmt: skip


def adaptor_report(n: int) -> AdaptorReport:
    scores, log = dict.fromkeys(range(n), 0.5), ({"step": 1},) * n
    settings = {f"s{i}": i for i in range(n)}
    return AdaptorReport(
        "m" * n, "f", "o" * n, n, n, settings, "pca", n, 1.0, None, scores, scores, 0.0, log
    )


def finetune_report(n: int) -> FineTuneReport:
    scores, log = dict.fromkeys(range(n), 0.5), ({"step": 1},) * n
    named = {"batch_size": 8, "int8": 1.0, "float32": 1.0} | {f"s{i}": float(i) for i in range(n)}
    return FineTuneReport("m" * n, "o" * n, "d" * n, n, n, n, named, n, n, 1.0, None, "ndcg@10",
                          scores, scores, named, log)  # fmt: skip


def model_folder(n: int) -> ModelFolder:
    place = Path("/models") / ("x" * min(n, 4000))
    return ModelFolder("n" * n, place, place, "int8", (Pooling(),) * n, text=TextSettings(n),
                       prompts={"q": "q" * n}, nesting=tuple(range(1, n)))  # fmt: skip


def model_card(n: int) -> ModelCard:
    prompts = {f"p{i}": "x" for i in range(n)}
    return dataclasses.replace(card("e5"), description="d" * n, figures=("f",) * n, prompts=prompts)


def bundled_rows_of(n: int) -> BundledRows:
    tokens, pairs = np.arange(n, dtype=np.int32), np.ones((n, 2), np.int32)
    return BundledRows(np.ones((n, 1), np.float32), tokens, pairs, n, np.ones(1), 0.0, "d" * n)


# A small object, and one with 100,000 elements, of every public class.
EXAMPLES: dict[type, Callable[[int, Path], Any]] = {
    AddResult: lambda n, _: AddResult(added=n, ids=[f"id{i}" for i in range(n)]),
    Adaptor: lambda n, _: Adaptor(np.ones((n, 1), np.float32), tuple(range(n)), "d" * n),
    AdaptorReport: lambda n, _: adaptor_report(n),
    AdaptorSettings: lambda n, _: AdaptorSettings(dims=range(1, n + 1)),
    Catalog: lambda n, path: Catalog([path / f"c{i}" for i in range(min(n, 1_000))]),
    Cells: lambda n, _: Cells(n),
    BadRecord: lambda n, _: BadRecord("s" * n, n, "r" * n),
    CheckReport: lambda n, _: CheckReport(("bad",) * n, n, n, n, ("orphan",) * n),
    Client: lambda n, _: Client("http://" + "h" * min(n, 60) + "/" + "p" * min(n, 60_000)),
    Collection: lambda n, path: filled(path, n),
    CollectionInfo: lambda n, path: filled(path, n).info(),
    CompactResult: lambda n, _: CompactResult(2, n),
    Conversion: lambda n, _: Conversion(name="n" * n),
    Dataset: lambda n, _: dataset(n),
    Document: lambda n, _: Document("t" * n, "i" * n, "u" * n, {f"k{i}": i for i in range(n)}),
    DocumentHit: lambda n, _: document_hit(n),
    DocumentHits: lambda n, _: DocumentHits((document_hit(3),) * n, explanation(min(n, 100))),
    DroppedHit: lambda n, _: DroppedHit("i" * n, 1, 0),
    Embeddings: lambda n, _: Embeddings(np.ones((n, 2), np.float32), np.ones((n, 2), np.float32)),
    Encoder: lambda n, path: Encoder(make_folder(path), threads=1, max_length=4),
    EncoderIdentity: lambda n, _: EncoderIdentity("n" * n, 8, "object", "c" * n),
    EvaluationSettings: lambda n, _: EvaluationSettings(dims=list(range(1, n + 1))),
    Explanation: lambda n, _: explanation(n),
    Fields: lambda n, _: Fields(metadata=tuple(f"f{i}" for i in range(n))),
    FineTuneReport: lambda n, _: finetune_report(n),
    FineTuneSettings: lambda n, _: FineTuneSettings(dims=range(1, n + 1)),
    Funnel: lambda n, _: Funnel.parse("2@8:10 > 2@32"),
    Hits: lambda n, _: Hits(np.arange(n), np.full(n, np.nan, np.float32), stages(n), 1),
    Index: lambda n, _: index(n),
    Judgements: lambda n, _: Judgements(range(n), range(n), [1] * n, count=n),
    ModelCard: lambda n, _: model_card(n),
    ModelFolder: lambda n, _: model_folder(n),
    MtebEncoder: lambda n, _: MtebEncoder(HashingEncoder(dim=8)),
    MtebIndex: lambda n, _: MtebIndex("8@32"),
    Passages: lambda n, _: Passages(n, 0),
    QueryEncoderReport: lambda n, _: query_encoder_report(n),
    QueryEncoderSettings: lambda n, _: QueryEncoderSettings(dims=range(1, n + 1)),
    BundledRows: lambda n, _: bundled_rows_of(n),
    QueryEncoderCard: lambda n, _: QueryEncoderCard("n", "t", "d" * n, "", "", ("f",) * n),
    RankedScore: lambda n, _: RankedScore(n, 0.5),
    ReadLog: lambda n, _: ReadLog(sanitized=n),
    RemoteCollection: lambda n, _: Client("http://host").collection("n" * n),
    Row: lambda n, _: table(n).rows[0],
    Run: lambda n, _: Run("n" * n, np.ones((n, 1), np.int64), np.ones((n, 1), np.float32)),
    ServerSettings: lambda n, _: ServerSettings(models=tuple(f"m{i}" for i in range(n))),
    Snippet: lambda n, _: Snippet("s" * n, 0, n, tuple((i, i + 1) for i in range(n))),
    Stage: lambda n, _: Stage(64, 4, n),
    StageStats: lambda n, _: stages(n)[0],
    StoredDocument: lambda n, _: StoredDocument("i" * n, "t" * n, "u" * n,
                                                {f"k{i}": i for i in range(n)},
                                                [(i, i + 1) for i in range(n)], 0),
    Survivors: lambda n, _: survivors(n),
    Synonyms: lambda n, _: Synonyms([f"a{i}, b{i}" for i in range(n)]),
    Table: lambda n, _: table(n),
    Trial: lambda n, _: trial(n),
    TuneReport: lambda n, _: tune_report(n),
    TuningTarget: lambda n, _: TuningTarget(0.9, 10, 1.0, "latency", None, 0),
    WeightFit: lambda n, _: WeightFit(0.5, 0.5, 0.5, n),
}  # fmt: skip


def cluster_info(n: int) -> ClusterInfo:
    """What a cluster serves."""
    return ClusterInfo(
        documents=n, passages=n, dim=2, metric="cosine", funnel=Funnel.parse("2@8:10 > 2@32"),
        encoder=None, split=None, title_weight=1, fields=("f",) * n, segments=n, pending=0,
        removed=0, memory={f"m{i}": i for i in range(n)}, disk=n, cells=None, version=n, replicas=n,
        ready=n, nodes=n, requests=FanoutStatistics(),
    )  # fmt: skip


class NoReplicas:
    """A supervisor of a dataset without shards."""

    generation = 1

    def __init__(self, fields: int) -> None:
        template = FileEntry(name="templates/t", bytes=0, checksum="0" * 16)
        self._manifest = Manifest(
            version=1, kind="index", dim=2, metric="cosine", funnel="2@8:10 > 2@32", encoder=None,
            passages=None, title_weight=1, fields=("f",) * fields, cells=None, template=template,
            next_row=0, builds=(), shards=(),
        )  # fmt: skip

    def directory(self) -> Directory:
        return Directory(1, self._manifest, ())

    def load(self, version: int | None = None) -> Directory:
        return self.directory()

    def close(self) -> None:
        pass


def file_entry(n: int) -> FileEntry:
    return FileEntry(name=f"shards/a/{'f' * n}", bytes=n, checksum="0" * 16)


def shard_entry(n: int) -> ShardEntry:
    files = (file_entry(n),) * 3
    return ShardEntry(
        name="a", kind="index", first=0, last=n, rows=n, documents=n, tokens=0, files=files
    )


def manifest(n: int) -> Manifest:
    return Manifest(
        version=1, kind="index", dim=4, metric="cosine", funnel="4@32", encoder=None,
        passages=None, title_weight=1, fields=("f" * n,), cells=None, template=file_entry(3),
        next_row=n + 1, builds=("b",), shards=(shard_entry(n),),
    )  # fmt: skip


def cluster(n: int, path: Path) -> Cluster:
    """A cluster of no shards, which needs neither Ray nor files."""
    return Cluster(nestling.cluster.Dataset(Storage(path)), NoReplicas(n), ClusterSettings())


EXAMPLES |= {
    BuildResult: lambda n, _: BuildResult(manifest(n), n, n, n, n, n),
    BuildSettings: lambda n, _: BuildSettings(vectors="v" * n, fields=("f",) * n),
    Cluster: cluster,
    DatasetReport: lambda n, _: DatasetReport(1, n, n, ("p" * n,) * 3),
    FileEntry: lambda n, _: file_entry(n),
    LocalShard: lambda n, path: LocalShard(path, shard_entry(n), ("id",) * n),
    Manifest: lambda n, _: manifest(n),
    ShardCache: lambda n, path: ShardCache(path, max_bytes=n),
    ShardDataset: lambda n, path: ShardDataset(Storage(path)),
    ShardEntry: lambda n, _: shard_entry(n),
    ClusterHits: lambda n, _: ClusterHits((document_hit(3),) * n, None, False, 0.5, ("s",) * n, n),
    ClusterInfo: lambda n, _: cluster_info(n),
    ClusterSettings: lambda n, _: ClusterSettings(replicas=n, cache="c" * n),
}
KINDS = sorted(EXAMPLES, key=lambda kind: kind.__name__)
# Equal only to themselves, as they change.
BY_IDENTITY = {
    Catalog,
    Client,
    Cluster,
    Collection,
    Encoder,
    Index,
    MtebEncoder,
    MtebIndex,
    RemoteCollection,
}
REFUSED = {Catalog, Cluster, Collection}
MUTABLE = {AddResult, ReadLog}


def filled(path: Path, n: int) -> Collection:
    collection = Collection(path / f"c{n}", HashingEncoder(dim=8), fields=["year"])
    collection.add(["bread", "river"], progress=False)
    return collection


def make(kind: type, n: int, path: Path) -> Any:
    try:
        made = EXAMPLES[kind](n, path)
    except nestling.PackageError as error:
        pytest.skip(str(error))
    assert type(made) is kind
    return made


def content(value: Any) -> Any:
    """What must be the same after a round trip."""
    if isinstance(value, Index):
        hits = value.search(np.eye(2), k=2)
        ids = value.ids
        return (str(value), ids.tolist(), value.reconstruct(ids).tobytes(), hits.ids.tolist(),
                hits.scores.tobytes(), value.threads, value.metric)  # fmt: skip
    if isinstance(value, Encoder):
        return repr(value), value.fingerprint, value.encode(["cat dog"]).tobytes(), value.nested
    if isinstance(value, (MtebEncoder, MtebIndex)):
        return type(value)
    if isinstance(value, (Client, RemoteCollection)):
        return repr(value)
    return value


def round_trips() -> Iterator[Callable[[Any], Any]]:
    yield copy.copy
    yield copy.deepcopy
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        yield lambda value, protocol=protocol: pickle.loads(pickle.dumps(value, protocol))


def test_every_public_class_has_an_example() -> None:
    assert public_classes() - ERRORS <= EXAMPLES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_repr_is_short(kind: type, tmp_path: Path) -> None:
    for n in (3, MANY):
        made = make(kind, n, tmp_path)
        shown = repr(made)
        assert shown.startswith(kind.__name__)
        assert len(shown) < 2_000
        assert "\n" not in shown
    # `print` shows a report as a table of any length.
    assert isinstance(str(make(kind, 3, tmp_path)), str)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_pickles_are_equal_or_refused_by_name(kind: type, tmp_path: Path) -> None:
    made = make(kind, 3, tmp_path)
    for round_trip in round_trips():
        if kind in REFUSED:
            with pytest.raises(TypeError, match="pickle its path") as caught:
                round_trip(made)
            assert isinstance(caught.value, nestling.NestlingError)
            continue
        back = round_trip(made)
        assert type(back) is kind
        assert content(back) == content(made)
        if kind not in BY_IDENTITY:
            assert (back == made) is True
            assert (back != made) is False


@pytest.mark.parametrize("kind", KINDS)
def test_comparisons_never_raise(kind: type, tmp_path: Path) -> None:
    made = make(kind, 3, tmp_path)
    others = [None, 3, "text", (), [], {}, object(), HashingEncoder()]
    others += [make(other, 3, tmp_path) for other in KINDS if other not in BY_IDENTITY]
    assert (made == made) is True
    for other in others:
        assert (made == other) in (True, False)
        assert (made != other) is not (made == other)
        if type(other) is not kind:
            assert (made == other) is False
    assert made in [None, made]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_objects_have_equal_hashes(kind: type, tmp_path: Path) -> None:
    made = make(kind, 3, tmp_path)
    if kind in MUTABLE:
        with pytest.raises(TypeError, match="unhashable"):
            hash(made)
        return
    hash(made)
    assert made in {made}
    if kind not in BY_IDENTITY:
        assert hash(copy.deepcopy(made)) == hash(made)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if dataclasses.is_dataclass(kind)])
def test_any_other_value_makes_objects_different(kind: type, tmp_path: Path) -> None:
    made = make(kind, 3, tmp_path)
    for field in dataclasses.fields(kind):
        value = getattr(made, field.name)
        if isinstance(value, np.ndarray):
            other: Any = value.copy()
            other.flat[-1] = 7
        elif isinstance(value, str) and value not in ("int8", "latency", "hybrid", "object"):
            other = f"{value}x"
        elif isinstance(value, dict):
            other = {**value, "another": 1}
        else:
            continue
        changed = copy.copy(made)
        object.__setattr__(changed, field.name, other)
        assert (changed == made) is not field.compare, field.name


def test_hits_of_the_same_search_are_equal() -> None:
    made = index(10)
    first, again = made.search(np.ones(2), k=20), made.search(np.ones(2), k=20)
    assert first == again
    assert hash(first) == hash(again)
    assert first != made.search(np.ones(2), k=3)


def test_hits_with_vectors_can_be_compared(tmp_path: Path) -> None:
    with filled(tmp_path, 3) as collection:
        first, again = (collection.search("bread", include=("vector", "text")) for _ in range(2))
        assert first == again
        assert again[0] in list(first)
        assert len({*first, *again}) == 2


def test_a_closed_or_broken_collection_has_a_repr(tmp_path: Path) -> None:
    collection = filled(tmp_path, 3)
    path = str(collection.path)
    assert "2 documents" in repr(collection)
    collection.close()
    assert repr(collection) == f"Collection({path!r}, closed)"
    other = Collection(path, HashingEncoder(dim=8))
    database = Path(path, "collection.db")
    database.write_bytes(b"x" * database.stat().st_size)
    assert repr(other).startswith(f"Collection({path!r}, ")


def test_an_index_and_its_copy_are_independent() -> None:
    made = index(10)
    for round_trip in round_trips():
        back = round_trip(made)
        back.add(np.ones((1, 2)))
        back.rebuild(cells=0)
        assert (len(made), len(back)) == (9, 10)
        assert made.cells is not None


@pytest.mark.parametrize("kind", sorted(ERRORS, key=lambda kind: kind.__name__))
def test_errors_can_be_pickled(kind: type[BaseException]) -> None:
    for arguments in (("message",), (28, "cannot write", "file")):
        if len(arguments) > 1 and not issubclass(kind, OSError):
            continue
        error = kind(*arguments)
        for round_trip in round_trips():
            back = round_trip(error)
            assert type(back) is kind
            assert (back.args, str(back)) == (error.args, str(error))
            assert getattr(back, "filename", None) == getattr(error, "filename", None)


def test_no_public_class_lacks_a_repr_of_its_own() -> None:
    for kind in public_classes() - ERRORS:
        assert inspect.getattr_static(kind, "__repr__") is not object.__repr__, kind
