"""Fine-tuning: an encoder learns from pairs to put what matters into its first dimensions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nestling.evaluation.systems import default_dims
from nestling.threads import thread_count
from nestling.training.finetune_evaluation import HeldOut, metric_of
from nestling.training.finetune_report import FineTuneReport
from nestling.training.finetune_settings import Settings
from nestling.training.packages import require_sentence_transformers
from nestling.training.pairs import TrainingData, read_training_data

if TYPE_CHECKING:
    from nestling.training.finetune_trainer import OnLog

__all__ = ["finetune"]

_REPORT: Final = "finetune.json"
_CHECKED: Final = 32  # texts by which the exported graphs are compared with torch


def finetune(
    model: str | os.PathLike[str],
    pairs: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    dims: Sequence[int] | None = None,
    threads: int | None = None,
    checkpoint_minutes: float = 5.0,
    force: bool = False,
    restart: bool = False,
    progress: bool | None = None,
    on_log: OnLog | None = None,
    **settings: Any,
) -> FineTuneReport:
    """Fine-tunes an encoder so that its prefixes are good embeddings, and exports it.

    While it trains, `OUT.training` holds checkpoints. A call that was killed is repeated as it was:
    it goes on from the last of them, and, on a CPU with the same number of threads, ends with the
    weights that it would have had. With `max_minutes`, the number of steps is set before the first
    one, by how long a few batches take, and kept.

    Args:
        model: A built-in name ("minilm", "e5"), a folder of sentence-transformers with torch
            weights, or a hub id. It must be a BERT with mean pooling.
        pairs: Questions with answers, or scored pairs (`nestling.training.pairs`).
        out: The folder to write; `Encoder(out)` reads it, and its `nesting` are the dims.
        dims: Nesting lengths, the whole embedding among them. Default: that and its halves.
        threads: Threads of torch. Default: those of `nestling.Encoder`.
        checkpoint_minutes: Between two checkpoints.
        force: Whether to replace an encoder that an earlier fine-tuning wrote to `out`.
        restart: Whether to begin anew where there are checkpoints.
        progress: Whether to show a bar. None: when stderr is a terminal.
        on_log: Called with each entry of the log: step, loss, loss by prefix length, rate.
        **settings: weights, epochs, steps, max_minutes, batch_size, group_size, mini_batch, lr,
            warmup, scale, max_length, seed, holdout, bf16, as `Settings` describes them
            (`nestling.training.finetune_settings`).

    Raises:
        PackageError: The extra `train` is not installed.
        CorpusError: The pairs cannot be read, or are too few.
        ModelError: The model cannot be had, trained or exported, or the exported graphs give other
            embeddings than torch.
        StorageError: `out` exists, another training has its checkpoints there, or the system
            refuses to write.
        ValueError: A setting is out of its range.

    Example:
        >>> report = finetune("minilm", "pairs.jsonl", "mine", dims=[384, 64])  # doctest: +SKIP
        >>> report.after[64] > report.before[64]  # doctest: +SKIP
        True
    """
    require_sentence_transformers()
    # Here, as importing this module must not need the command line's packages.
    from nestling.cli.atomic import new_folder, refuse_to_replace
    from nestling.training.export import check_exportable, export
    from nestling.training.finetune_checkpoints import RunFolder
    from nestling.training.finetune_model import TorchEncoder, digest_of, load_network
    from nestling.training.finetune_trainer import train_network

    target = Path(out)
    refuse_to_replace(target, force=force, ours=lambda folder: (folder / _REPORT).is_file())
    chosen = None if dims is None else Settings.of(dims, **settings)
    data = read_training_data(pairs)
    with _quiet_torch(thread_count(threads)):
        network = load_network(model)
        check_exportable(network)
        dim = int(network.get_embedding_dimension())
        chosen = chosen or Settings.of(default_dims(dim), **settings)
        chosen.fit(dim)
        train, held = data.split(chosen.holdout, seed=chosen.seed)
        measured = HeldOut(held, train)
        identity = {**chosen.as_dict(), "model": digest_of(network), "data": data.digest()}
        folder = target.with_name(f"{target.name}.training")
        with RunFolder.open(folder, identity, restart=restart) as run:

            def measure() -> dict[str, float]:
                encoder = TorchEncoder(network, name="held out", nesting=chosen.dims)
                values = measured.measure(encoder, threads=threads) if len(held) else {}
                return {str(length): value for length, value in values.items()}

            if "before" not in run.facts:
                run.keep(before=measure())
            trained = train_network(
                network,
                train,
                chosen,
                run,
                checkpoint_minutes=checkpoint_minutes,
                progress=progress,
                on_log=on_log,
            )
            after = measure()
            with new_folder(target) as staged:
                agreement = export(
                    network, staged, name=target.name, nesting=chosen.dims, texts=_texts(train)
                )
                report = FineTuneReport(
                    model=os.fspath(model),
                    out=str(target),
                    data=data.name,
                    pairs=len(train),
                    negatives=train.negatives,
                    held_out=len(held),
                    settings=chosen.as_dict(),
                    steps=trained.steps,
                    planned=trained.planned,
                    seconds=round(trained.seconds, 1),
                    resumed=trained.resumed,
                    metric=metric_of(data.kind),
                    before={int(length): value for length, value in run.facts["before"].items()},
                    after={int(length): value for length, value in after.items()},
                    agreement=agreement,
                    log=trained.log,
                )
                text = json.dumps(report.as_dict(), indent=2)
                (staged / _REPORT).write_text(text + "\n", encoding="utf-8")
            run.remove()
    return report


def _texts(data: TrainingData) -> list[str]:
    """Returns a few texts of both kinds, to compare graphs by."""
    half = _CHECKED // 2
    if data.examples:
        return [t for e in data.examples[:half] for t in (e.query, e.positive)]
    return [t for p in data.pairs[:half] for t in (p.first, p.second)]


@contextmanager
def _quiet_torch(threads: int) -> Iterator[None]:
    """Gives torch so many threads for a while, and hides the bars of each file read or written."""
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
