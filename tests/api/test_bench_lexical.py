"""The benchmark of words: engines answer the same questions, and a failure affects nothing else."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from nestling.bench import main
from nestling.bench.lexical.command import compare
from nestling.bench.lexical.engine import Selected
from nestling.bench.lexical.registry import ENGINES, EngineLibrary
from nestling.bench.lexical.report import show
from nestling.bench.lexical.results import Case, LexicalReport, Outcome
from nestling.bench.lexical.run import Plan
from nestling.bench.lexical.workload import LONG, SHORT, Question, Workload, make_workload
from nestling.bench.peers.measure import Bounds
from nestling.errors import CorpusError

DOCS = Path(__file__).parents[2] / "docs"
NESTLING, FTS5 = ENGINES[:2]
FAKE = EngineLibrary("fake", "fake_words", "numpy", "numpy")
ABSENT = EngineLibrary("absent", "no_adapter", "no_such_package", "no-such-distribution")
NOUNS = ["bread", "river", "stone", "lamp", "cloud", "garden", "horn", "wolf", "flute", "sand"]
WEIGHTS = np.arange(1, len(NOUNS) + 1)
CASES = [Case(kind, k, share) for kind in (SHORT, LONG) for k in (10, 1000) for share in (None, 1)]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's own documentation, a paragraph a line."""
    path = tmp_path_factory.mktemp("lexical") / "texts.txt"
    pages = [page.read_text("utf-8") for page in sorted(DOCS.rglob("*.md"))]
    paragraphs = [" ".join(each.split()) for page in pages for each in page.split("\n\n")]
    path.write_text("\n".join(paragraphs), "utf-8")
    return path


@pytest.fixture(scope="module")
def workload(texts: Path) -> Workload:
    return make_workload(
        texts.parent, 1_000, texts=texts, questions=None, question_count=30, seed=0
    )


@pytest.fixture(scope="module")
def report(workload: Workload) -> LexicalReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setattr("nestling.bench.lexical.run._TIMEOUT", 1e6)  # on a slow machine
        plan = Plan([NESTLING, FTS5, FAKE], CASES, Bounds(25, 20, 0.2), rounds=2, build_limit=250)
        return compare(workload, [500, 1_000], plan, absent=[ABSENT])


def outcome(report: LexicalReport, configuration: str) -> Outcome:
    return next(o for o in report.sizes[-1].outcomes if o.configuration == configuration)


def test_every_case_of_every_engine_is_measured(report: LexicalReport) -> None:
    assert [size.documents for size in report.sizes] == [500, 1_000]
    for size in report.sizes:
        for each in size.outcomes[:2]:
            assert each.error is None
            assert [result.case for result in each.cases] == CASES
            for result in each.cases:
                assert 0 < result.p50.low <= result.p50.median <= result.p50.high
                assert result.p50.low <= result.p99
                assert result.latency_questions == 20
                assert 20 <= result.batch <= 25
                assert result.questions_per_second.median > 0
            assert each.build_seconds is not None
            assert each.bytes_per_document is not None
            assert each.bytes_per_document > 0


def test_the_answers_are_compared_with_the_first_engines(report: LexicalReport) -> None:
    assert {result.agreement for result in outcome(report, "collection").cases} == {None}
    # The same formula, nearly the same tokens; where scores are equal, the order may differ.
    shares = [result.agreement for result in outcome(report, "tokenizer porter ascii").cases]
    assert min(share for share in shares if share is not None) > 0.9
    # All of the words instead of any, and no scores.
    scan = [result.agreement for result in outcome(report, "scan").cases]
    assert max(share for share in scan if share is not None) < 0.9
    assert outcome(report, "scan").bytes_per_document == 7


@pytest.mark.parametrize(
    ("configuration", "error"),
    [("crashes", "killed by SIGSEGV: a last word"), ("raises", "RuntimeError: no such word")],
)
def test_a_failure_is_reported(report: LexicalReport, configuration: str, error: str) -> None:
    failed = outcome(report, configuration)
    assert failed.error is not None
    assert error in failed.error
    assert failed.cases == ()
    assert (failed.build_seconds is None) == (configuration == "crashes")


def test_the_tables_name_the_absent_and_the_failed(report: LexicalReport) -> None:
    out = io.StringIO()
    show(report, Console(file=out, highlight=False, soft_wrap=True, width=200))
    text = out.getvalue()
    assert "1,000 documents: searches" in text
    assert "short, top 10, filter of 1 %" in text
    assert "not installed: absent (pip install no-such-distribution)" in text
    assert "FAILED: fake: crashes: killed by SIGSEGV" in text


def test_everything_is_plain_json(report: LexicalReport) -> None:
    plain = json.loads(json.dumps(report.as_dict()))
    assert plain["questions"] == {"short": 30, "long": 30}
    case = plain["sizes"][1]["outcomes"][0]["cases"][1]
    assert case["case"] == {"questions": "short", "k": 10, "percent": 1}
    assert set(case["p50"]) == {"median", "low", "high"}


@pytest.fixture(scope="module")
def nouns(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """Documents of words that every analysis leaves as they are."""
    folder = tmp_path_factory.mktemp("nouns")
    drawn = np.random.default_rng(0).choice(NOUNS, (200, 12), p=1 / WEIGHTS / sum(1 / WEIGHTS))
    (folder / "texts.txt").write_text("".join(f"{' '.join(each)}.\n" for each in drawn))
    return make_workload(
        folder, 1_000, texts=folder / "texts.txt", questions=None, question_count=10, seed=0
    )


@pytest.mark.parametrize("library", ENGINES, ids=lambda library: library.name)
@pytest.mark.parametrize("where", [None, Selected("hundredth", 7), Selected("half", 1)])
def test_engines_find_every_document_with_a_word(
    library: EngineLibrary, where: Selected | None, nouns: Workload, tmp_path: Path
) -> None:
    if importlib.util.find_spec(library.package) is None:
        pytest.skip(f"{library.package} is not installed")
    texts, tags = nouns.read(1_000)
    held = [set(text.replace(".", "").split()) for text in texts]
    for number, configuration in enumerate(library.configurations()):
        (folder := tmp_path / str(number)).mkdir()
        engine = configuration.open(folder)
        engine.build(texts, tags)
        assert engine.size() > 0
        questions = nouns.questions[SHORT]
        together = engine.search_all(questions, 1_000, where)
        for question, found in zip(questions, together, strict=True):
            expected = {
                row
                for row, words in enumerate(held)
                if words & set(question.words.split())
                and (where is None or getattr(tags, where.tag)[row] == where.value)
            }
            assert expected
            assert sorted(map(int, found)) == sorted(expected)
            best = list(engine.search(question, 10, where))
            assert len(best) == min(10, len(expected))
            assert len(set(best) & set(found[:10])) >= len(best) * 0.8  # ties aside


def test_documents_are_runs_of_the_sentences(tmp_path: Path) -> None:
    sentences = ["one two three four five six seven.", "A b c d e f g h i j k l m n o p q r s!"]
    (tmp_path / "texts.txt").write_text(f"{' '.join(sentences)}\nnot this\n")
    small, large = (
        make_workload(
            _new(tmp_path / str(count)),
            count,
            texts=tmp_path / "texts.txt",
            questions=None,
            question_count=3,
            seed=5,
        )
        for count in (150, 20_500)
    )
    documents, tags = large.read(20_500)
    assert documents[:150] == small.read(1_000)[0]
    assert np.array_equal(tags.hundredth[:150], small.read(150)[1].hundredth)
    assert len(documents) == 20_500
    assert "2 sentences" in large.origin
    for document in documents[:2_000]:
        found = document.split()
        assert any(
            " ".join(found[:cut]) in first and " ".join(found[cut:]) in second
            for cut in range(4, len(found) - 3)
            for first in sentences
            for second in sentences
        ), document
    assert len(set(documents)) > 5_000
    assert abs(large.words - np.mean([len(each.split()) for each in documents])) < 1e-9
    assert abs(float(np.mean(tags.half)) - 0.5) < 0.02
    assert abs(float(np.mean(tags.hundredth == 0)) - 0.01) < 0.003


def test_the_questions_are_the_users(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("Bread is made of flour and water.\n")
    (tmp_path / "asked.txt").write_text("Who bakes the bread?\n...\n")
    found = make_workload(
        _new(tmp_path / "new"),
        100,
        texts=tmp_path / "texts.txt",
        questions=tmp_path / "asked.txt",
        question_count=10,
        seed=0,
    )
    assert found.questions[LONG] == (
        Question("Who bakes the bread?", "bakes bread", "who bakes the bread"),
    )
    assert len(found.questions[SHORT]) == 10
    assert {"flour", "water"} & {w for q in found.questions[SHORT] for w in q.words.split()}


@pytest.mark.parametrize(
    ("texts", "questions", "message"),
    [("a b\n", "bread\n", "no sentence"), ("a b c d\n", "?\n", "no question")],
)
def test_texts_without_words_are_refused(
    texts: str, questions: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text(texts)
    (tmp_path / "asked.txt").write_text(questions)
    with pytest.raises(CorpusError, match=message):
        make_workload(
            tmp_path,
            100,
            texts=tmp_path / "texts.txt",
            questions=tmp_path / "asked.txt",
            question_count=10,
            seed=0,
        )


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_the_command_writes_json(
    capsys: pytest.CaptureFixture[str], texts: Path, tmp_path: Path
) -> None:
    bounds = ("--rounds", "1", "--seconds-per-case", "0.05", "--count", "5", "--top", "3")
    chosen = ("--engines", "fts5,nestling", "--documents", "300,200")
    out = tmp_path / "found.json"
    with pytest.raises(SystemExit) as exit_:
        main(["lexical", *bounds, *chosen, "--texts", str(texts), "--json", "--out", str(out)])
    assert exit_.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(out.read_text())
    assert [size["documents"] for size in found["sizes"]] == [200, 300]
    assert [each["engine"] for each in found["sizes"][0]["outcomes"]] == ["fts5", "nestling"]
    assert len(found["sizes"][0]["outcomes"][1]["cases"]) == 6
    assert found["absent"] == {}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--engines", "lucen"], 2, "unknown engine 'lucen'"),
        (["--documents", "10"], 2, "integers of at least 100"),
        (["--documents", "many"], 2, "integers of at least 100"),
        (["--top", "0"], 2, "integers of at least 1"),
        (["--texts", "absent.txt"], 1, "absent.txt"),
    ],
)
def test_wrong_arguments_are_reported(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["lexical", *arguments])
    assert exit_.value.code == code
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
