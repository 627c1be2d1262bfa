"""How many threads: the argument, else the environment, else the cores granted."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from nestling._util.threads import thread_count
from nestling.errors import ArgumentError, SettingError


def test_an_argument_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESTLING_THREADS", "3")
    assert thread_count(None) == 3
    assert thread_count(5) == 5
    monkeypatch.setenv("NESTLING_THREADS", "many")
    assert thread_count(1) == 1  # nobody reads it


def test_any_whole_number_will_do() -> None:
    count = thread_count(np.int64(2))
    assert (count, type(count)) == (2, int)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (0, "at least 1, not 0"),
        (-2, "at least 1, not -2"),
        (1.5, r"a whole number, not 1\.5"),
        ("2", "a whole number, not '2'"),
    ],
)
def test_a_wrong_argument_is_told(wrong: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"threads must be {message}") as told:
        thread_count(wrong)  # type: ignore[arg-type]
    assert isinstance(told.value, ValueError)


@pytest.mark.parametrize("wrong", ["many", "0", "-1", "1.5", "+2", "1_0", " ", "2 3"])
def test_an_environment_that_names_no_number_is_told(
    monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("NESTLING_THREADS", wrong)
    with pytest.raises(SettingError) as told:
        thread_count(None)
    assert str(told.value) == (
        f"NESTLING_THREADS must be a whole number of at least 1, not {wrong!r}"
    )


@pytest.mark.parametrize("unset", [None, ""])
def test_else_every_core_that_is_granted(
    monkeypatch: pytest.MonkeyPatch, unset: str | None
) -> None:
    if unset is None:
        monkeypatch.delenv("NESTLING_THREADS", raising=False)
    else:
        monkeypatch.setenv("NESTLING_THREADS", unset)
    granted = getattr(os, "sched_getaffinity", None)
    assert thread_count(None) == (len(granted(0)) if granted else os.cpu_count())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds a process to cores")
def test_cores_that_are_not_granted_do_not_count() -> None:
    script = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from nestling._util.threads import thread_count
print(thread_count(None))
"""
    environment = {k: v for k, v in os.environ.items() if k != "NESTLING_THREADS"}
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "1"
