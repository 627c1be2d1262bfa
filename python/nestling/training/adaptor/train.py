"""Training of an adaptor, from texts and optionally pairs to a folder that `Encoder` reads."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.progress import ProgressBar
from nestling.errors import CorpusError
from nestling.training.adaptor.anchors import Anchors, from_pairs, from_texts
from nestling.training.adaptor.fit import Evaluation, Fitter
from nestling.training.adaptor.report import AdaptorReport
from nestling.training.adaptor.settings import AdaptorSettings
from nestling.training.adaptor.start import principal_axes
from nestling.training.checkpoints import Checkpoint, RunFolder
from nestling.training.packages import require_torch
from nestling.training.pairs import TrainingData, read_training_data
from nestling.training.vectors import embed

if TYPE_CHECKING:
    from nestling.encoder import Encoder

__all__ = ["MATRIX_FILE", "REPORT_FILE", "train_adaptor"]

MATRIX_FILE: Final = "adaptor.npz"
"""In the folder that is written: `matrix` (dim, dim) float32 and the `nesting` lengths."""
REPORT_FILE: Final = "adaptor.json"
"""Beside it: the report."""

_FEWEST: Final = 100  # texts: fewer say nothing about others
_CHECKED: Final = 32  # texts on which the folded graph is compared
_STATE: Final = "state.pt"

Floats = NDArray[np.float32]


def train_adaptor(
    encoder: Encoder,
    texts: Iterable[str],
    out: str | os.PathLike[str],
    settings: AdaptorSettings | None = None,
    *,
    pairs: str | os.PathLike[str] | None = None,
    force: bool = False,
    restart: bool = False,
    progress: bool | None = None,
    on_evaluation: Callable[[Evaluation], object] | None = None,
) -> AdaptorReport:
    """Makes an encoder's prefixes good embeddings by a rotation, which becomes part of its graph.

    The encoder's weights stay as they are, and so do the scores of whole embeddings, which a
    rotation does not change. What is learnt is which directions come first: every prefix should
    rank the nearest texts of a text as the whole embedding does, and find the answers of questions
    where there are pairs.

    `Encoder` reads the folder `out`, without torch. If the process is killed, the same call resumes
    from the last checkpoint in `OUT.training` and ends with the same rotation, bit for bit, on the
    same machine.

    Args:
        encoder: The encoder to adapt.
        texts: Texts like those that will be searched; 10,000 are good, more are better. Copies
            count once.
        out: The folder to write.
        settings: What determines the rotation; None for the defaults of `AdaptorSettings`.
        pairs: Questions with answers (`nestling.training.pairs`): a .jsonl file of `query` and
            `positive`, optionally `negatives`, or a folder in the layout of BEIR. None: the texts
            alone.
        force: Whether to replace an adapted encoder that exists.
        restart: Whether to drop the checkpoints of an earlier training.
        progress: Whether to show bars. None: when it takes long, on a terminal.
        on_evaluation: Called with the losses on held-out anchors, every hundred steps by default.

    Raises:
        PackageError: The extra `train` is not installed.
        CorpusError: There are too few texts, or the pairs cannot be read.
        ModelError: The graph cannot be folded, or the folded one gives other embeddings.
        LockedError: Another process is training into the same folder.
        StorageError: `out` exists, another training has its checkpoints there, or the system
            refuses to write.
        VectorError: A prefix is longer than the embedding.

    Example:
        >>> settings = AdaptorSettings(dims=[16, 32, 64, 128, 256])
        >>> report = train_adaptor(Encoder("minilm"), texts, "mine", settings)  # doctest: +SKIP
        >>> Encoder("mine").nesting  # doctest: +SKIP
        (16, 32, 64, 128, 256, 384)
    """
    require_torch()
    from nestling._util.atomic import new_folder, refuse_to_replace

    target = Path(out)
    refuse_to_replace(
        target, force=force, is_our_output=lambda folder: (folder / REPORT_FILE).is_file()
    )
    settings = (settings or AdaptorSettings()).resolve(encoder.dim, with_pairs=pairs is not None)
    different = [text for text in dict.fromkeys(texts) if text.strip()]
    if len(different) < _FEWEST:
        raise CorpusError(
            f"{len(different)} different texts: an adaptor needs at least {_FEWEST}, and 10,000 "
            "are better"
        )
    data = _read_pairs(pairs)
    identity = {
        **settings.as_dict(),
        "model": encoder.fingerprint,
        "texts": _digest(different),
        "pairs": None if data is None else data.digest(),
    }
    with RunFolder.open(
        target.with_name(f"{target.name}.training"), identity, restart=restart
    ) as run:
        # Named after the data and the encoder, so that other vectors are never used instead.
        content = json.dumps([identity[name] for name in ("model", "texts", "pairs")])
        vectors = run.path / f"vectors-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
        vectors.mkdir(exist_ok=True)
        groups = _groups(encoder, different, data, settings, vectors, progress)
        start, name = _start(groups, settings)
        fitter = Fitter(start, groups, settings)
        seconds, resumed = _descend(fitter, run, progress, on_evaluation)
        with new_folder(target) as staged:
            from nestling.models.fold import fold_folder

            difference = fold_folder(
                encoder.path,
                staged,
                fitter.best,
                name=target.name,
                nesting=settings.dims,
                texts=different[:_CHECKED],
                overrides=encoder.overrides.over(encoder.recipe),
            )
            np.savez(staged / MATRIX_FILE, matrix=fitter.best, nesting=np.array(settings.dims))
            report = AdaptorReport(
                model=encoder.name,
                fingerprint=encoder.fingerprint,
                out=str(target),
                texts=len(different),
                pairs=0 if data is None else len(data),
                settings=settings.as_dict(),
                start=name,
                steps=fitter.step,
                seconds=round(seconds, 1),
                resumed=resumed,
                before=dict(fitter.evaluations[0].by_dims),
                after=dict(min(fitter.evaluations, key=lambda each: each.loss).by_dims),
                difference=difference,
                log=tuple(asdict(evaluation) for evaluation in fitter.evaluations),
            )
            text = json.dumps(report.as_dict(), indent=2)
            (staged / REPORT_FILE).write_text(text + "\n", encoding="utf-8")
        run.remove()
    return report


def _read_pairs(pairs: str | os.PathLike[str] | None) -> TrainingData | None:
    if pairs is None:
        return None
    data = read_training_data(pairs)
    if not data.examples:
        raise CorpusError(f"{data.name}: scored pairs; an adaptor learns from query and positive")
    return data


def _digest(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(json.dumps(text).encode())
    return digest.hexdigest()[:16]


def _groups(
    encoder: Encoder,
    texts: Sequence[str],
    data: TrainingData | None,
    settings: AdaptorSettings,
    folder: Path,
    progress: bool | None,
) -> list[Anchors]:
    """Embeds the texts and pairs, and finds the nearest candidates of each anchor."""
    limits: dict[str, int] = {"most": settings.anchors, "holdout": settings.holdout}
    vectors = embed(folder, "texts", texts, encoder.encode, progress=progress)
    rng = np.random.default_rng(settings.seed)
    weight = 1.0 if data is None else settings.text_weight
    groups = [from_texts(vectors, rng=rng, weight=weight, **limits)]
    if data is None:
        return groups
    questions = [example.query for example in data.examples]
    positions: dict[str, int] = {}
    for example in data.examples:
        for text in (example.positive, *example.negatives):
            positions.setdefault(text, len(positions))
    answers = embed(folder, "answers", list(positions), encoder.encode, progress=progress)
    queries = embed(folder, "questions", questions, encoder.encode_queries, progress=progress)
    positive = [positions[example.positive] for example in data.examples]
    groups.append(from_pairs(queries, answers, positive, rng=rng, **limits))
    return groups


def _start(groups: Sequence[Anchors], settings: AdaptorSettings) -> tuple[Floats, str]:
    """Returns the better of the principal axes and no rotation at all, and its name."""
    rows = [vectors for group in groups for vectors in (group.vectors, group.candidates)]
    starts = {
        "principal axes": principal_axes(np.concatenate(rows)),
        "the encoder itself": np.eye(rows[0].shape[1], dtype=np.float32),
    }
    losses = {name: Fitter(start, groups, settings).evaluate() for name, start in starts.items()}
    best = min(losses, key=lambda name: losses[name].loss)
    return starts[best], best


def _descend(
    fitter: Fitter,
    run: RunFolder,
    progress: bool | None,
    on_evaluation: Callable[[Evaluation], object] | None,
) -> tuple[float, int | None]:
    """Runs from the last checkpoint to the end; returns the seconds, and the step it resumed at."""
    import torch

    before, latest = 0.0, run.latest()
    if latest is not None:
        fitter.restore(torch.load(latest.path / _STATE, weights_only=True))
        before = latest.seconds
    started, resumed = time.monotonic(), None if latest is None else fitter.step
    with ProgressBar("Adapting", total=fitter.settings.steps, show=progress) as bar:
        bar.advance(fitter.step)
        while not fitter.finished:
            evaluation = fitter.advance(bar.advance)
            path = run.path / f"checkpoint-{fitter.step:06}"
            path.mkdir(exist_ok=True)
            torch.save(fitter.state(), path / _STATE)
            seconds = before + time.monotonic() - started
            run.commit(Checkpoint(path, fitter.step, seconds, fitter.finished))
            if on_evaluation is not None:
                on_evaluation(evaluation)
    return before + time.monotonic() - started, resumed
