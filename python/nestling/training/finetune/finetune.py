"""Fine-tuning: an encoder learns from pairs to put what matters into its first dimensions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nestling._util.threads import thread_count
from nestling.training.finetune.evaluation import HeldOut, metric_of
from nestling.training.finetune.report import FineTuneReport
from nestling.training.finetune.settings import FineTuneSettings
from nestling.training.packages import require_sentence_transformers
from nestling.training.pairs import TrainingData, read_training_data

if TYPE_CHECKING:
    from nestling.training.finetune.trainer import OnLog

__all__ = ["finetune"]

_REPORT: Final = "finetune.json"
_CHECKED: Final = 32  # texts on which the exported graphs are compared with torch


def finetune(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: FineTuneSettings | None = None,
    *,
    threads: int | None = None,
    checkpoint_minutes: float = 5.0,
    force: bool = False,
    restart: bool = False,
    progress: bool | None = None,
    on_log: OnLog | None = None,
) -> FineTuneReport:
    """Fine-tunes an encoder so that its prefixes are good embeddings, and exports it.

    While it trains, `OUT.training` holds checkpoints. If the process is killed, the same call
    resumes from the last of them and, on a CPU with the same number of threads, ends with the same
    weights. With `max_minutes`, the number of steps is fixed before the first one, from the time of
    a few batches.

    Args:
        model: A built-in name ("minilm", "e5"), a folder in the layout of sentence-transformers
            with torch weights, or a hub id. It must be a BERT with mean pooling.
        data: Questions with answers, or scored pairs (`nestling.training.pairs`).
        out: The folder to write; `Encoder(out)` reads it, and its `nesting` are the settings' dims.
        settings: What determines the weights; None for the defaults of `FineTuneSettings`.
        threads: Threads of torch. Default: those of `nestling.Encoder`.
        checkpoint_minutes: Minutes between two checkpoints. The result does not depend on it.
        force: Whether to replace an encoder that an earlier fine-tuning wrote to `out`.
        restart: Whether to drop existing checkpoints and start again.
        progress: Whether to show a bar. None: when stderr is a terminal.
        on_log: Called with each entry of the log: step, loss, loss by prefix length, rate.

    Raises:
        PackageError: The extra `train` is not installed.
        CorpusError: The pairs cannot be read, or are too few.
        ModelError: The model cannot be loaded, trained or exported, or the exported graphs give
            other embeddings than torch.
        LockedError: Another process is training into the same folder.
        StorageError: `out` exists, another training has its checkpoints there, or the system
            refuses to write.
        ArgumentError: The settings do not fit the model.

    Example:
        >>> settings = FineTuneSettings(dims=[384, 64], max_minutes=60, bf16=True)
        >>> report = finetune("minilm", "pairs.jsonl", "mine", settings)  # doctest: +SKIP
        >>> report.after[64] > report.before[64]  # doctest: +SKIP
        True
    """
    require_sentence_transformers()
    # Imported here because they import torch.
    from nestling._util.atomic import new_folder, refuse_to_replace
    from nestling.training.checkpoints import RunFolder
    from nestling.training.export import check_exportable, export
    from nestling.training.finetune.model import (
        TorchEncoder,
        blend_weights,
        digest_of,
        load_network,
    )
    from nestling.training.finetune.trainer import train_network

    settings = FineTuneSettings() if settings is None else settings
    target = Path(out)
    refuse_to_replace(
        target, force=force, is_our_output=lambda folder: (folder / _REPORT).is_file()
    )
    pairs = read_training_data(data)
    train, held_out = pairs.split(settings.holdout, seed=settings.seed)
    train.check_batch(settings.batch_size)
    with _quiet_torch(thread_count(threads)):
        network = load_network(model)
        check_exportable(network)
        settings = settings.resolve(int(network.get_embedding_dimension()))
        dims = settings.dims
        original = {name: value.cpu().clone() for name, value in network.state_dict().items()}
        evaluation = HeldOut(held_out, train)
        identity = {**settings.as_dict(), "model": digest_of(network), "data": pairs.digest()}
        folder = target.with_name(f"{target.name}.training")
        with RunFolder.open(folder, identity, restart=restart) as run:

            def measure() -> dict[str, float]:
                encoder = TorchEncoder(network, name="held out", nesting=dims)
                values = evaluation.measure(encoder, threads=threads) if len(held_out) else {}
                return {str(length): value for length, value in values.items()}

            if "before" not in run.facts:
                run.record(before=measure())
            trained = train_network(
                network,
                train,
                settings,
                run,
                checkpoint_minutes=checkpoint_minutes,
                progress=progress,
                on_log=on_log,
            )
            blend_weights(network, original, settings.blend)
            after = measure()
            with new_folder(target) as staged:
                agreement = export(
                    network, staged, name=target.name, nesting=dims, texts=_sample_texts(train)
                )
                report = FineTuneReport(
                    model=os.fspath(model),
                    out=str(target),
                    data=pairs.name,
                    pairs=len(train),
                    negatives=train.negatives,
                    held_out=len(held_out),
                    settings=settings.as_dict(),
                    steps=trained.steps,
                    planned=trained.planned,
                    seconds=round(trained.seconds, 1),
                    resumed=trained.resumed,
                    metric=metric_of(pairs.kind),
                    before={int(length): value for length, value in run.facts["before"].items()},
                    after={int(length): value for length, value in after.items()},
                    agreement=agreement,
                    log=trained.log,
                )
                text = json.dumps(report.as_dict(), indent=2)
                (staged / _REPORT).write_text(text + "\n", encoding="utf-8")
            run.remove()
    return report


def _sample_texts(data: TrainingData) -> list[str]:
    """Returns a few texts of both kinds, to compare graphs on."""
    half = _CHECKED // 2
    if data.examples:
        return [t for e in data.examples[:half] for t in (e.query, e.positive)]
    return [t for p in data.pairs[:half] for t in (p.first, p.second)]


@contextmanager
def _quiet_torch(threads: int) -> Iterator[None]:
    """Sets torch's threads for a while, and hides the bars of each file read or written."""
    import torch
    from transformers.utils import logging

    before, bars = torch.get_num_threads(), logging.is_progress_bar_enabled()
    torch.set_num_threads(threads)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if bars:
            logging.enable_progress_bar()
