"""Runs the command line in process, and returns how it ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from nestling.cli import main


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


def end_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ended:
    """Runs `nestling` with these arguments; returns what it printed and its exit code."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return Ended(int(end.value.code or 0), *capsys.readouterr())
