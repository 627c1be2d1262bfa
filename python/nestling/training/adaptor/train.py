"""From an encoder, texts and perhaps pairs to a folder of the encoder with its adaptor inside."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.progress import ProgressBar
from nestling.errors import CorpusError
from nestling.training.adaptor.anchors import Anchors, from_pairs, from_texts
from nestling.training.adaptor.fit import Fitter, Look
from nestling.training.adaptor.report import AdaptorReport
from nestling.training.adaptor.settings import STEPS_WITH_PAIRS, AdaptorSettings
from nestling.training.adaptor.start import principal_axes
from nestling.training.adaptor.vectors import embed
from nestling.training.checkpoints import Checkpoint, RunFolder
from nestling.training.packages import require_torch
from nestling.training.pairs import TrainingData, read_training_data

if TYPE_CHECKING:
    from nestling.encoder import Encoder

__all__ = ["MATRIX_FILE", "REPORT_FILE", "train_adaptor"]

MATRIX_FILE: Final = "adaptor.npz"
"""In the folder that is made: `matrix` (dim, dim) float32 and the `nesting` lengths."""
REPORT_FILE: Final = "adaptor.json"
"""Beside it: what the training did."""

_FEWEST: Final = 100  # texts: from fewer nothing general can be learnt
_CHECKED: Final = 32  # texts that the folded graph is compared by
_STATE: Final = "state.pt"

Floats = NDArray[np.float32]


def train_adaptor(
    encoder: Encoder,
    texts: Iterable[str],
    pairs: str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    dims: Sequence[int] | None = None,
    seed: int = 0,
    force: bool = False,
    restart: bool = False,
    progress: bool | None = None,
    on_look: Callable[[Look], object] | None = None,
    **settings: Any,
) -> AdaptorReport:
    """Makes an encoder's prefixes good embeddings by a rotation, which becomes part of its graph.

    The encoder stays as it is and is only asked for embeddings; scores of whole embeddings stay as
    they are, as a rotation changes none. What is learnt is which directions come first: for each
    text and its nearest ones, every prefix is to rank as the whole embedding does, and to find the
    answer where pairs tell it.

    The folder `out` is read by `Encoder`, and needs no torch. A training that was killed goes on
    from its last checkpoint, in `OUT.training`, when it is called again with the same arguments,
    and ends with the same rotation, bit for bit, on the same machine.

    Args:
        encoder: What to adapt.
        texts: Texts of the kind that will be searched; 10,000 are good, more are better. Copies
            count once.
        pairs: Questions with answers (`nestling.training.pairs`): a .jsonl file of `query` and
            `positive`, perhaps `negatives`, or a folder in the layout of BEIR. None: the texts
            alone.
        out: The folder to make.
        dims: Prefix lengths. None: 16, 32, 48, 64, 128, 256, 384, as far as the embedding goes.
        seed: Of all that is random.
        force: Whether to replace an adapted encoder that is there.
        restart: Whether to drop the checkpoints of an earlier training.
        progress: Whether to show bars. None: when it takes long, on a terminal.
        on_look: Called with the losses on what is held out, every hundred steps or so.
        **settings: steps, batch_size, near, lr, every, patience, anchors, holdout, text_weight,
            threads, as `AdaptorSettings` describes them (`nestling.training.adaptor.settings`).

    Raises:
        PackageError: The extra `train` is not installed.
        CorpusError: There are too few texts, or the pairs cannot be read.
        ModelError: The graph cannot be folded, or the folded one gives other embeddings.
        StorageError: `out` exists, another training has its checkpoints there, or the system
            refuses to write.
        VectorError: A prefix is longer than the embedding.
        ValueError: A setting is out of its range.

    Example:
        >>> report = train_adaptor(Encoder("minilm"), texts, out="mine")  # doctest: +SKIP
        >>> Encoder("mine").nesting  # doctest: +SKIP
        (16, 32, 48, 64, 128, 256, 384)
    """
    require_torch()
    from nestling._util.atomic import new_folder, refuse_to_replace

    target = Path(out)
    refuse_to_replace(
        target, force=force, is_our_output=lambda folder: (folder / REPORT_FILE).is_file()
    )
    if pairs is not None:
        settings.setdefault("steps", STEPS_WITH_PAIRS)
    chosen = AdaptorSettings.of(encoder.dim, dims, seed=seed, **settings)
    different = [text for text in dict.fromkeys(texts) if text.strip()]
    if len(different) < _FEWEST:
        raise CorpusError(
            f"{len(different)} different texts: an adaptor needs at least {_FEWEST}, and 10,000 "
            "are better"
        )
    data = _read_pairs(pairs)
    identity = {
        **chosen.as_dict(),
        "model": encoder.fingerprint,
        "texts": _digest(different),
        "pairs": None if data is None else data.digest(),
    }
    with RunFolder.open(
        target.with_name(f"{target.name}.training"), identity, restart=restart
    ) as run:
        # Of this data and this encoder: what another training left behind is not taken for it.
        content = json.dumps([identity[name] for name in ("model", "texts", "pairs")])
        vectors = run.path / f"vectors-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
        vectors.mkdir(exist_ok=True)
        groups = _groups(encoder, different, data, chosen, vectors, progress)
        start, name = _start(groups, chosen)
        fitter = Fitter(start, groups, chosen)
        seconds, resumed = _descend(fitter, run, progress, on_look)
        with new_folder(target) as staged:
            from nestling.models.fold import fold_folder

            difference = fold_folder(
                encoder.path,
                staged,
                fitter.best,
                name=target.name,
                nesting=chosen.dims,
                texts=different[:_CHECKED],
            )
            np.savez(staged / MATRIX_FILE, matrix=fitter.best, nesting=np.array(chosen.dims))
            report = AdaptorReport(
                model=encoder.name,
                fingerprint=encoder.fingerprint,
                out=str(target),
                texts=len(different),
                pairs=0 if data is None else len(data),
                settings=chosen.as_dict(),
                start=name,
                steps=fitter.step,
                seconds=round(seconds, 1),
                resumed=resumed,
                before=dict(fitter.looks[0].by_dims),
                after=dict(min(fitter.looks, key=lambda look: look.loss).by_dims),
                difference=difference,
                log=tuple(asdict(look) for look in fitter.looks),
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
    """Embeds the texts and pairs and finds who is near whom."""
    limits: dict[str, int] = {"most": settings.anchors, "holdout": settings.holdout}
    vectors = embed(folder, "texts", texts, encoder.encode, progress=progress)
    rng = np.random.default_rng(settings.seed)
    weight = 1.0 if data is None else settings.text_weight
    groups = [from_texts(vectors, rng=rng, weight=weight, **limits)]
    if data is None:
        return groups
    questions = [example.query for example in data.examples]
    places: dict[str, int] = {}
    for example in data.examples:
        for text in (example.positive, *example.negatives):
            places.setdefault(text, len(places))
    answers = embed(folder, "answers", list(places), encoder.encode, progress=progress)
    asked = embed(folder, "questions", questions, encoder.encode_queries, progress=progress)
    positive = [places[example.positive] for example in data.examples]
    groups.append(from_pairs(asked, answers, positive, rng=rng, **limits))
    return groups


def _start(groups: Sequence[Anchors], settings: AdaptorSettings) -> tuple[Floats, str]:
    """Returns the better of the principal axes and no rotation at all, and its name."""
    rows = [vectors for group in groups for vectors in (group.vectors, group.candidates)]
    starts = {
        "principal axes": principal_axes(np.concatenate(rows)),
        "the encoder itself": np.eye(rows[0].shape[1], dtype=np.float32),
    }
    losses = {name: Fitter(start, groups, settings).look() for name, start in starts.items()}
    best = min(losses, key=lambda name: losses[name].loss)
    return starts[best], best


def _descend(
    fitter: Fitter,
    run: RunFolder,
    progress: bool | None,
    on_look: Callable[[Look], object] | None,
) -> tuple[float, int | None]:
    """Goes on from the last checkpoint to the end; returns the seconds and where it went on."""
    import torch

    before, newest = 0.0, run.newest()
    if newest is not None:
        fitter.restore(torch.load(newest.path / _STATE, weights_only=True))
        before = newest.seconds
    began, resumed = time.monotonic(), None if newest is None else fitter.step
    with ProgressBar("adapting", total=fitter.settings.steps, show=progress) as bar:
        bar.advance(fitter.step)
        while not fitter.finished:
            look = fitter.advance(bar.advance)
            path = run.path / f"checkpoint-{fitter.step:06}"
            path.mkdir(exist_ok=True)
            torch.save(fitter.state(), path / _STATE)
            seconds = before + time.monotonic() - began
            run.seal(Checkpoint(path, fitter.step, seconds, fitter.finished))
            if on_look is not None:
                on_look(look)
    return before + time.monotonic() - began, resumed
