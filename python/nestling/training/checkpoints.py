"""The folder of a training in progress: its identity, and checkpoints that are complete.

```
OUT.training/
    run.json         the settings, and what was measured before the first step
    log.jsonl        one line for each entry of the log
    checkpoint-N/    weights, optimiser, schedule and random state after step N
        complete.json   written last, once everything else of it is on the disk
```

A process that is killed while it writes leaves a checkpoint without complete.json. The next process
removes it and resumes from the one before.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from nestling._util.atomic import new_file, sync, sync_tree
from nestling.errors import LockedError, StorageError

__all__ = ["Checkpoint", "RunFolder"]

_LOCK: Final = ".lock"
_RUN: Final = "run.json"
_LOG: Final = "log.jsonl"
_COMPLETE: Final = "complete.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state from which a training can resume.

    Attributes:
        path: Its folder.
        step: The step after which it was taken.
        seconds: Seconds of training until then, of all processes together.
        finished: Whether the training ended there.
    """

    path: Path
    step: int
    seconds: float
    finished: bool


class RunFolder:
    """The open folder of a training; no other process can open it at the same time.

    Attributes:
        path: The folder.
        facts: What run.json holds besides the identity.

    Example:
        >>> with RunFolder.open(Path("mine.training"), {"seed": 0}) as run:
        ...     run.record(steps=300)
        ...     run.latest() is None
        True
        >>> with RunFolder.open(Path("mine.training"), {"seed": 0}) as run:
        ...     run.facts
        {'steps': 300}
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self._identity = dict(identity)
        self.facts: dict[str, Any] = {}

    @classmethod
    @contextmanager
    def open(
        cls, path: Path, identity: Mapping[str, Any], *, restart: bool = False
    ) -> Iterator[RunFolder]:
        """Opens the folder, or makes it.

        Args:
            path: The folder.
            identity: JSON values that determine what the run computes.
            restart: Whether to drop what is there.

        Raises:
            LockedError: Another process has it open.
            StorageError: It holds a run of another identity, or the system refuses to read or
                write.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            with _locked(path):
                run = cls(path, identity)
                run._load(restart=restart)
                yield run
        except (LockedError, StorageError):
            raise
        except OSError as error:
            raise StorageError(f"{path}: cannot write: {error.strerror or error}") from error

    def record(self, **facts: Any) -> None:
        """Adds facts to run.json, for a later process to find."""
        self.facts |= facts
        _write(self.path / _RUN, {"identity": self._identity, "facts": self.facts})

    def latest(self) -> Checkpoint | None:
        """Returns the last complete checkpoint; None when there is none."""
        found = [_read_checkpoint(path) for path in self._checkpoints()]
        return max((c for c in found if c is not None), key=lambda c: c.step, default=None)

    def commit(self, checkpoint: Checkpoint) -> None:
        """Marks a checkpoint as complete once its files are on the disk, and drops older ones."""
        sync_tree(checkpoint.path)
        facts = {k: v for k, v in asdict(checkpoint).items() if k != "path"}
        _write(checkpoint.path / _COMPLETE, facts)
        sync(self.path)
        for path in self._checkpoints():
            if path != checkpoint.path:
                shutil.rmtree(path)

    def log(self, entry: Mapping[str, Any]) -> None:
        """Appends an entry to log.jsonl."""
        with (self.path / _LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")

    def read_log(self, *, until: int) -> list[dict[str, Any]]:
        """Returns the entries up to a step, and drops later ones, whose steps will be repeated."""
        path = self.path / _LOG
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        entries = []
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:  # the last line of a process that was killed
                break
            if entry["step"] > until:
                break
            entries.append(entry)
        with new_file(path) as staged:
            staged.write_text("".join(json.dumps(entry) + "\n" for entry in entries), "utf-8")
        return entries

    def remove(self) -> None:
        """Removes the folder, once the result is in its place."""
        shutil.rmtree(self.path)

    def _load(self, *, restart: bool) -> None:
        path = self.path / _RUN
        if restart:
            path.unlink(missing_ok=True)
        if not path.exists():
            for checkpoint in self._checkpoints():
                shutil.rmtree(checkpoint)
            (self.path / _LOG).unlink(missing_ok=True)
            self.record()
            return
        try:
            content = json.loads(path.read_text("utf-8"))
            identity, self.facts = content["identity"], content["facts"]
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{path} is not the record of a training: remove its folder"
            ) from error
        other = [name for name in self._identity if identity.get(name) != self._identity[name]]
        if other:
            differences = ", ".join(
                f"{name} {identity.get(name)}, not {self._identity[name]}" for name in other
            )
            raise StorageError(
                f"{self.path} has the checkpoints of another training ({differences}): resume it "
                "with its settings, choose another output, or drop them with --restart"
            )
        for checkpoint in self._checkpoints():
            if _read_checkpoint(checkpoint) is None:
                shutil.rmtree(checkpoint)

    def _checkpoints(self) -> list[Path]:
        return sorted(path for path in self.path.glob("checkpoint-*") if path.is_dir())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, which the system takes from a process that dies."""
    lock = FileLock(folder / _LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LockedError(
            f"{folder}: another process is training there; wait for it, or choose another output"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _read_checkpoint(path: Path) -> Checkpoint | None:
    try:
        return Checkpoint(path, **json.loads((path / _COMPLETE).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Replaces a JSON file in one step, after its content has reached the disk."""
    with new_file(path) as staged:
        staged.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
