"""MTEB takes the encoder and the funnel: its own mock tasks, offline, and a task of a dataset."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hashing_encoder import HashingEncoder

from nestling.errors import CorpusError, FunnelError, VectorError
from nestling.evaluation import Dataset, EvaluationSettings, evaluate
from nestling.evaluation.mteb import MtebEncoder, MtebIndex, search_model
from nestling.evaluation.tasks import read_task

# Importing torch, transformers and mteb takes seconds, and some of them warn as they please.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FUNNEL = "32@4:50 > 64@32"


@pytest.fixture(scope="module")
def mteb() -> Iterator[ModuleType]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("mteb", minversion="2")


@pytest.fixture
def encoder() -> HashingEncoder:
    return HashingEncoder("hashed", dim=64)


class Dense(HashingEncoder):
    """Embeddings without ties, and a note of which prompts were asked for."""

    def __init__(self, name: str = "dense") -> None:
        super().__init__(name, dim=64)
        self.words = HashingEncoder(dim=4096)
        self.matrix = np.random.default_rng(3).standard_normal((4096, 64)).astype(np.float32)
        self.asked: list[str] = []

    def encode(self, texts: Any, **options: Any) -> np.ndarray:
        self.asked.append("documents")
        return self.words.encode(texts) @ self.matrix

    def encode_queries(self, texts: Any, **options: Any) -> np.ndarray:
        self.asked.append("queries")
        return self.words.encode(texts) @ self.matrix


def task_of(mteb: ModuleType, dataset: Dataset) -> Any:
    """A retrieval task of MTEB's own class that holds a dataset."""
    from datasets import Dataset as Rows
    from mteb.mocks import MockRetrievalTask

    grades = dataset.judgements.grades_of(
        np.tile(np.arange(len(dataset.documents)), (len(dataset.queries), 1))
    )

    class Task(MockRetrievalTask):
        metadata = MockRetrievalTask.metadata.model_copy(update={"eval_splits": ["test"]})

        def load_data(self, **_: Any) -> None:
            corpus = {"id": dataset.document_ids, "text": dataset.documents}
            queries = {"id": dataset.query_ids, "text": dataset.queries}
            relevant = {
                query: {dataset.document_ids[place]: int(row[place]) for place in row.nonzero()[0]}
                for query, row in zip(dataset.query_ids, grades, strict=True)
            }
            self.dataset = {
                "default": {
                    "test": {
                        "corpus": Rows.from_dict({k: list(v) for k, v in corpus.items()}),
                        "queries": Rows.from_dict({k: list(v) for k, v in queries.items()}),
                        "relevant_docs": relevant,
                        "top_ranked": None,
                    }
                }
            }
            self.data_loaded = True

    return Task()


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    words = [f"{word}{number}" for word in ("sea", "hive", "نهر", "مصر") for number in range(30)]
    documents = {f"d{i:03}": " ".join(rng.choice(words, 12)) for i in range(200)}
    queries = {f"q{i}": " ".join(rng.choice(documents[f"d{i:03}"].split(), 3)) for i in range(40)}
    judgements = [(f"q{i}", f"d{i + step:03}", 2 - step) for i in range(40) for step in (0, 1)]
    return Dataset.of("local", documents, queries, judgements)


def main_scores(mteb: ModuleType, model: Any, task: Any) -> dict[str, float]:
    result = mteb.evaluate(model, [task], cache=None, show_progress_bar=False)
    scores: dict[str, float] = result.task_results[0].scores["test"][0]
    return scores


def test_mteb_accepts_the_encoder_and_the_engine(mteb: ModuleType, encoder: HashingEncoder) -> None:
    from mteb.models.models_protocols import EncoderProtocol, SearchProtocol

    short = MtebEncoder(encoder, truncate_dim=16)
    assert isinstance(short, EncoderProtocol)
    assert isinstance(search_model(encoder), SearchProtocol)
    assert short.mteb_model_meta.name == "nestling/hashed-16"
    assert short.mteb_model_meta.embed_dim == 16
    assert json.loads(short.mteb_model_meta.model_dump_json())["revision"] == encoder.fingerprint


@pytest.mark.parametrize("engine", [False, True], ids=["encoder", "engine"])
def test_all_of_mtebs_mock_tasks_run(
    mteb: ModuleType, encoder: HashingEncoder, engine: bool
) -> None:
    model = (
        search_model(encoder, funnel=FUNNEL) if engine else MtebEncoder(encoder, truncate_dim=32)
    )
    ran = {k: v for k, v in mteb.mock_run(model).task_results.items() if v is not None}
    assert len(ran) > 20
    failed = {name: v for name, v in ran.items() if not hasattr(v, "scores")}
    assert not failed
    assert "MockRetrievalTask" in ran
    assert "MockRerankingTask" in ran


def test_mteb_measures_what_nestling_measures(mteb: ModuleType, dataset: Dataset) -> None:
    encoder = Dense()
    # MTEB asks for 1,000 documents, and so does this, as a funnel finds more the more it keeps.
    settings = EvaluationSettings(dims=[16], funnels=[FUNNEL], bits=[32], rounds=0, depth=1000)
    table = evaluate(encoder, dataset, settings)
    full, prefix, funnel = table.rows
    task = task_of(mteb, dataset)
    for row, model in (
        (full, MtebEncoder(encoder)),
        (prefix, MtebEncoder(encoder, truncate_dim=16)),
        (full, search_model(encoder, funnel="64@32")),
        (funnel, search_model(encoder, funnel=FUNNEL)),
    ):
        scores = main_scores(mteb, model, task)
        for name, theirs in (("ndcg@10", "ndcg_at_10"), ("mrr@10", "mrr_at_10"),
                             ("map@100", "map_at_100"), ("recall@10", "recall_at_10")):  # fmt: skip
            assert scores[theirs] == pytest.approx(row.metrics[name], abs=2e-5)  # five digits
    assert prefix.metrics["ndcg@10"] < full.metrics["ndcg@10"] - 0.05


def test_a_task_becomes_a_dataset(mteb: ModuleType, dataset: Dataset) -> None:
    found = read_task(task_of(mteb, dataset))
    assert found.documents == dataset.documents
    assert found.query_ids == dataset.query_ids
    np.testing.assert_array_equal(found.judgements.ideal(3), dataset.judgements.ideal(3))
    assert len(read_task(task_of(mteb, dataset), limit=5).queries) == 5


def test_a_mock_task_of_several_languages_needs_a_choice(mteb: ModuleType) -> None:
    from mteb.mocks import MockMultilingualRetrievalTask

    with pytest.raises(CorpusError, match="subset None: choose one of"):
        read_task(MockMultilingualRetrievalTask())
    found = read_task(MockMultilingualRetrievalTask(), subset="eng", split="test")
    assert len(found.queries) == 2
    with pytest.raises(CorpusError, match="split 'dev': choose one of"):
        read_task(MockMultilingualRetrievalTask(), subset="eng", split="dev")


def test_tasks_that_are_no_retrieval_or_do_not_exist_are_told(mteb: ModuleType) -> None:
    from mteb.mocks import MockSTSTask

    with pytest.raises(CorpusError, match="a task of type STS, not a retrieval"):
        read_task(MockSTSTask(), split="test")
    with pytest.raises(CorpusError, match="MTEB cannot load the task 'NoSuchTask'"):
        read_task("NoSuchTask")


def test_questions_and_documents_get_their_prompts(mteb: ModuleType) -> None:
    from mteb.types import PromptType

    encoder = Dense()
    model = MtebEncoder(encoder, truncate_dim=8)
    for kind in (PromptType.document, PromptType.query, None):
        assert model.encode([{"text": ["a", "b"]}, {"text": ["c"]}], prompt_type=kind).shape == (
            3,
            8,
        )
    assert encoder.asked == ["documents", "queries", "queries"]


def test_prefixes_are_renormalised(mteb: ModuleType, encoder: HashingEncoder) -> None:
    texts = ["sea hive", "مصر نهر النيل", ""]
    found = MtebEncoder(encoder, truncate_dim=16).encode([{"text": texts}])
    np.testing.assert_allclose(found, encoder.encode(texts, dim=16), atol=1e-6)
    for dim in (0, 65):
        with pytest.raises(VectorError, match="1 to 64"):
            MtebEncoder(encoder, truncate_dim=dim)


def test_the_index_searches_and_orders_candidates() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((50, 64)).astype(np.float32)
    index = MtebIndex(FUNNEL, threads=1)
    with pytest.raises(VectorError, match="no documents"):
        index.search(rows[:1], 3, max)
    index.add_documents(rows[:30], [f"d{i}" for i in range(30)])
    index.add_documents(rows[30:], [f"d{i}" for i in range(30, 50)])
    scores, places = index.search(rows[[4, 44]], 100, max)
    assert [len(row) for row in places] == [50, 50]
    assert [row[0] for row in places] == [4, 44]
    assert scores[0][0] == pytest.approx(1, abs=1e-3)
    candidates = {"a": ["d7", "d4", "d9"], "b": []}
    scores, places = index.search(
        rows[[4, 44]], 2, max, top_ranked=candidates, query_idx_to_id={0: "a", 1: "b"}
    )
    assert places[0][0] == 1
    assert [len(row) for row in places] == [2, 0]
    index.clear()
    with pytest.raises(FunnelError):
        index.add_documents(rows[:, :32], [f"d{i}" for i in range(50)])
