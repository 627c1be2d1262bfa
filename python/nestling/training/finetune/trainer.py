"""The training loop, by the trainer of sentence-transformers; it may be killed at any moment.

A checkpoint holds the weights, the optimiser, the schedule and every random state; batches depend
on the seed and the step alone. So a run that resumes from a checkpoint takes exactly the steps that
it would have taken, and ends, on a CPU with the same number of threads, with the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nestling._util.progress import ProgressBar
from nestling.errors import ModelError
from nestling.training.checkpoints import Checkpoint, RunFolder
from nestling.training.finetune.batches import BatchPlan
from nestling.training.finetune.model import prompt_of
from nestling.training.finetune.settings import FineTuneSettings
from nestling.training.losses import LossLog, nested_loss
from nestling.training.pairs import TrainingData

__all__ = ["Trained", "train_network"]

_LOGS: Final = 50  # entries of the log, roughly
_PROBES: Final = 3  # batches that are timed to estimate how many fit in the time
_MARGIN: Final = 0.95  # share of the time to plan for: batches differ in length

OnLog = Callable[[Mapping[str, Any]], object]


@dataclass(frozen=True, slots=True)
class Trained:
    """How a training went.

    Attributes:
        steps: Batches trained on.
        planned: Batches planned; more than `steps` where time ran out.
        seconds: Seconds of training, of all processes together.
        resumed: The step from which this process resumed; None where it started.
        log: Entries with step, loss, loss of each prefix, and learning rate.
    """

    steps: int
    planned: int
    seconds: float
    resumed: int | None
    log: tuple[Mapping[str, Any], ...]


def train_network(
    network: Any,
    data: TrainingData,
    settings: FineTuneSettings,
    run: RunFolder,
    *,
    checkpoint_minutes: float = 5.0,
    progress: bool | None = None,
    on_log: OnLog | None = None,
) -> Trained:
    """Trains a network in place, or resumes where an earlier process was killed.

    Args:
        network: A `SentenceTransformer`.
        data: The pairs to train on.
        settings: The settings, resolved for the network.
        run: The folder of the checkpoints.
        checkpoint_minutes: Minutes between two checkpoints. The result does not depend on it.
        progress: As for `ProgressBar`.
        on_log: Called with each entry of the log.

    Raises:
        CorpusError: Too many pairs share a text to fill a batch.
        ModelError: The loss became infinite or NaN.
        StorageError: A checkpoint cannot be written.
    """
    checkpoint = run.latest()
    whole_length = network.max_seq_length
    try:
        network.max_seq_length = min(whole_length or settings.max_length, settings.max_length)
        loss, losses = nested_loss(
            network,
            settings.dims,
            kind=data.kind,
            weights=settings.weights,
            scale=settings.scale,
            mini_batch=settings.mini_batch,
        )
        planned = run.facts.get("steps")
        if planned is None:
            started = time.monotonic()
            planned = _plan(network, data, settings, run, loss)
            losses.take()  # drops those of the probes
            run.record(steps=planned, probed=time.monotonic() - started)
        log = run.read_log(until=0 if checkpoint is None else checkpoint.step)
        hooks = _Hooks(
            run,
            losses,
            ProgressBar("Fine-tuning", total=planned, show=progress),
            spent=run.facts["probed"] if checkpoint is None else checkpoint.seconds,
            limit=math.inf if settings.max_minutes is None else settings.max_minutes * 60,
            every=checkpoint_minutes * 60,
            on_log=on_log,
        )
        trainer = _trainer(network, data, settings, run, loss, steps=planned, hooks=hooks)
        if checkpoint is not None and checkpoint.finished:
            trainer._load_from_checkpoint(str(checkpoint.path))
            return Trained(checkpoint.step, planned, checkpoint.seconds, checkpoint.step, (*log,))
        with hooks.bar:
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint.path))
        # Otherwise the network would stay in bfloat16 after a training in it.
        trainer.accelerator.unwrap_model(network, keep_fp32_wrapper=False)
        return Trained(
            trainer.state.global_step,
            planned,
            hooks.seconds,
            None if checkpoint is None else checkpoint.step,
            (*log, *hooks.entries),
        )
    finally:
        network.max_seq_length = whole_length


def _plan(
    network: Any, data: TrainingData, settings: FineTuneSettings, run: RunFolder, loss: Any
) -> int:
    """Returns how many steps to take: the requested ones, or as many as fit in the time."""
    steps = settings.steps or math.ceil(settings.epochs * (len(data) // settings.batch_size))
    if settings.max_minutes is None:
        return steps
    # The schedule must know its end, so that the rate is zero when the time is over.
    trainer = _trainer(network, data, settings, run, loss, steps=_PROBES + 1, hooks=None)
    batches = iter(trainer.get_train_dataloader())
    started, seconds = time.monotonic(), []
    network.train()
    for _ in range(_PROBES + 1):
        batch = next(batches, None)
        if batch is None:
            break
        step_started = time.monotonic()
        with trainer.compute_loss_context_manager():
            value = trainer.compute_loss(network, trainer._prepare_inputs(batch))
        value.backward()
        network.zero_grad()
        seconds.append(time.monotonic() - step_started)
    timed = sorted(seconds[1:] or seconds)  # the first one also warms up
    left = settings.max_minutes * 60 - (time.monotonic() - started)
    return max(1, min(steps, int(_MARGIN * left / timed[len(timed) // 2])))


def _trainer(
    network: Any,
    data: TrainingData,
    settings: FineTuneSettings,
    run: RunFolder,
    loss: Any,
    *,
    steps: int,
    hooks: _Hooks | None,
) -> Any:
    """Makes a trainer that prints nothing, contacts no hub, and calls the hooks."""
    import datasets
    import torch
    import transformers
    from sentence_transformers import sentence_transformer

    columns = data.columns()
    kinds = {"query": ("query",), "first": ("query",), "second": ("query",)}
    prompts = {
        name: prompt_of(network, kinds.get(name, ("document", "passage", "corpus")))
        for name in columns
        if name != "score"
    }
    arguments = sentence_transformer.training_args.SentenceTransformerTrainingArguments(
        output_dir=str(run.path),
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.lr,
        lr_scheduler_type="linear",
        warmup_steps=round(settings.warmup * steps),
        bf16=settings.bf16,
        seed=settings.seed,
        data_seed=settings.seed,
        batch_sampler=_sampler(data, settings, steps),
        dataloader_drop_last=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        prompts={name: text for name, text in prompts.items() if text} or None,
        save_strategy="no",  # the hooks decide when
        logging_strategy="steps",
        logging_steps=max(1, steps // _LOGS),
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
    )
    base = sentence_transformer.trainer.SentenceTransformerTrainer
    # The parent would write a model card into each checkpoint, and query the hub for it.
    quiet = {"_save": _save, "add_model_card_callback": lambda self, arguments: None}
    trainer = type("Trainer", (base,), quiet)(
        model=network,
        args=arguments,
        train_dataset=datasets.Dataset.from_dict(columns),
        loss=loss,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    if hooks is not None:
        trainer.add_callback(type("Hooks", (_Callback, transformers.TrainerCallback), {})(hooks))
    return trainer


def _sampler(
    data: TrainingData, settings: FineTuneSettings, steps: int
) -> Callable[..., BatchPlan]:
    """Returns what the trainer calls to get the batches; its own arguments are not needed."""

    def make(dataset: Any, **_: Any) -> BatchPlan:
        return BatchPlan(
            data,
            batch_size=settings.batch_size,
            group_size=settings.group_size,
            seed=settings.seed,
            batches=steps,
        )

    return make


def _save(self: Any, output_dir: str | None = None, state_dict: Any = None) -> None:
    self.model.save_pretrained(output_dir or self.args.output_dir, create_model_card=False)


class _Hooks:
    """What happens between steps: time, checkpoints, the log."""

    def __init__(
        self,
        run: RunFolder,
        losses: LossLog,
        bar: ProgressBar,
        *,
        spent: float,
        limit: float,
        every: float,
        on_log: OnLog | None,
    ) -> None:
        self.bar = bar
        self.entries: list[Mapping[str, Any]] = []
        self._run, self._losses, self._on_log = run, losses, on_log
        self._spent, self._limit, self._every = spent, limit, every
        self._started = self._saved = time.monotonic()
        self._stopping = False

    @property
    def seconds(self) -> float:
        """Seconds of training until now, those of earlier processes included."""
        return self._spent + time.monotonic() - self._started

    def begin(self, step: int) -> None:
        """Starts the clock."""
        self._started = self._saved = time.monotonic()
        self.bar.advance(step)

    def after_step(self, step: int, last: int) -> tuple[bool, bool]:
        """Returns whether to save, and whether to stop."""
        self.bar.advance()
        self._stopping = step >= last or self.seconds >= self._limit
        due = time.monotonic() - self._saved >= self._every
        return due or self._stopping, self._stopping

    def after_save(self, path: Path, step: int) -> None:
        """Marks the checkpoint that was just written as complete."""
        self._run.commit(Checkpoint(path, step, self.seconds, self._stopping))
        self._saved = time.monotonic()

    def after_log(self, step: int, last: int, logs: Mapping[str, Any]) -> None:
        """Adds an entry to the log; a loss that is not finite ends the training."""
        by_dims = self._losses.take()
        if "loss" not in logs:
            return
        if not all(map(math.isfinite, by_dims.values())):
            raise ModelError(
                f"the loss is {by_dims} after step {step}: choose a lower learning rate"
            )
        entry = {
            "step": step,
            "steps": last,
            "loss": round(float(logs["loss"]), 4),
            "loss_by_dims": {str(dims): round(value, 4) for dims, value in by_dims.items()},
            "lr": float(logs["learning_rate"]),
            "seconds": round(self.seconds, 1),
        }
        self.entries.append(entry)
        self._run.log(entry)
        if self._on_log is not None:
            self._on_log(entry)


class _Callback:
    """Passes the trainer's events to the hooks; mixed with its `TrainerCallback`."""

    def __init__(self, hooks: _Hooks) -> None:
        self._hooks = hooks

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._hooks.begin(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        save, stop = self._hooks.after_step(state.global_step, state.max_steps)
        control.should_save |= save
        control.should_training_stop |= stop

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        path = Path(args.output_dir, f"checkpoint-{state.global_step}")
        self._hooks.after_save(path, state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self._hooks.after_log(state.global_step, state.max_steps, logs or {})
