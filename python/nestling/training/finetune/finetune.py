"""Fine-tuning: an encoder learns from pairs to put what matters into its first dimensions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nestling._util.threads import thread_count
from nestling.evaluation.systems import default_dims
from nestling.training.finetune.evaluation import HeldOut, metric_of
from nestling.training.finetune.report import FineTuneReport
from nestling.training.finetune.settings import Settings
from nestling.training.packages import require_sentence_transformers
from nestling.training.pairs import TrainingData, read_training_data

if TYPE_CHECKING:
    from nestling.training.finetune.trainer import OnLog

__all__ = ["finetune"]

_REPORT: Final = "finetune.json"
_CHECKED: Final = 32  # texts by which the exported graphs are compared with torch


def finetune(
    model: str | os.PathLike[str],
    pairs: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    dims: Sequence[int] | None = None,
    weights: Sequence[float] | None = None,
    epochs: float = 1.0,
    steps: int | None = None,
    max_minutes: float | None = None,
    batch_size: int = 64,
    group_size: int = 16,
    mini_batch: int | None = None,
    lr: float = 5e-5,
    warmup: float = 0.1,
    scale: float = 20.0,
    max_length: int = 128,
    blend: float = 0.5,
    bf16: bool = False,
    seed: int = 0,
    holdout: int | None = None,
    threads: int | None = None,
    checkpoint_minutes: float = 5.0,
    force: bool = False,
    restart: bool = False,
    progress: bool | None = None,
    on_log: OnLog | None = None,
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
        weights: Of the loss of each length, in the same order. Default: 1 each.
        epochs: Times that every pair is seen.
        steps: Batches to learn from, in place of `epochs`.
        max_minutes: Minutes of training; fewer steps are planned where they would not fit.
        batch_size: Pairs of a batch; each is a negative for the others.
        group_size: Pairs of one group that stand together in a batch, as far as groups are known.
        mini_batch: Texts whose activations are in memory at once; None for those of a batch.
        lr: The highest learning rate, after the warm-up; it then falls to zero in a line.
        warmup: Share of the steps in which the rate rises.
        scale: What cosines are multiplied by in the loss.
        max_length: Tokens of a text that are read in training; measured is with the model's own.
        blend: Share of the learnt weights in those that are exported; the rest are the model's
            own. The mean keeps most of what was learnt, and what the model knew of other fields
            (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
        bf16: Whether products are in bfloat16, which newer CPUs and GPUs do several times faster.
        seed: Of all that is random.
        holdout: Pairs to measure with. Default: a tenth, at most 1,000.
        threads: Threads of torch. Default: those of `nestling.Encoder`.
        checkpoint_minutes: Between two checkpoints.
        force: Whether to replace an encoder that an earlier fine-tuning wrote to `out`.
        restart: Whether to begin anew where there are checkpoints.
        progress: Whether to show a bar. None: when stderr is a terminal.
        on_log: Called with each entry of the log: step, loss, loss by prefix length, rate.

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
    from nestling._util.atomic import new_folder, refuse_to_replace
    from nestling.training.checkpoints import RunFolder
    from nestling.training.export import check_exportable, export
    from nestling.training.finetune.model import TorchEncoder, digest_of, load_network
    from nestling.training.finetune.model import blend as mix
    from nestling.training.finetune.trainer import train_network

    target = Path(out)
    refuse_to_replace(
        target, force=force, is_our_output=lambda folder: (folder / _REPORT).is_file()
    )

    def settings(lengths: Sequence[int]) -> Settings:
        return Settings.of(
            lengths,
            weights,
            epochs=epochs,
            steps=steps,
            max_minutes=max_minutes,
            batch_size=batch_size,
            group_size=group_size,
            mini_batch=mini_batch,
            lr=lr,
            warmup=warmup,
            scale=scale,
            max_length=max_length,
            seed=seed,
            holdout=holdout,
            blend=blend,
            bf16=bf16,
        )

    # What is wrong with the settings is told before anything is read or fetched.
    chosen = None if dims is None else settings(dims)
    data = read_training_data(pairs)
    train, held = data.split(holdout, seed=seed)
    train.check_batch(batch_size)
    with _quiet_torch(thread_count(threads)):
        network = load_network(model)
        check_exportable(network)
        dim = int(network.get_embedding_dimension())
        chosen = chosen or settings(default_dims(dim))
        chosen.fit(dim)
        first = {name: value.cpu().clone() for name, value in network.state_dict().items()}
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
            mix(network, first, chosen.blend)
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
