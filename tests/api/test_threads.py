"""The number of threads: the argument, then the environment variable, then the granted cores."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from nestling._util.threads import thread_count
from nestling.errors import ArgumentError, SettingError


def test_the_argument_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESTLING_THREADS", "3")
    assert thread_count(None) == 3
    assert thread_count(5) == 5
    monkeypatch.setenv("NESTLING_THREADS", "many")
    assert thread_count(1) == 1  # it is not read


def test_any_integer_type_is_accepted() -> None:
    count = thread_count(np.int64(2))
    assert (count, type(count)) == (2, int)


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        (0, "at least 1, not 0"),
        (-2, "at least 1, not -2"),
        (1.5, r"a whole number, not 1\.5"),
        ("2", "a whole number, not '2'"),
    ],
)
def test_an_invalid_argument_is_an_error(invalid: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"threads must be {message}") as caught:
        thread_count(invalid)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("invalid", ["many", "0", "-1", "1.5", "+2", "1_0", " ", "2 3"])
def test_an_invalid_environment_variable_is_an_error(
    monkeypatch: pytest.MonkeyPatch, invalid: str
) -> None:
    monkeypatch.setenv("NESTLING_THREADS", invalid)
    with pytest.raises(SettingError) as caught:
        thread_count(None)
    assert str(caught.value) == (
        f"NESTLING_THREADS must be a whole number of at least 1, not {invalid!r}"
    )


@pytest.mark.parametrize("unset", [None, ""])
def test_the_default_is_every_core_granted_to_the_process(
    monkeypatch: pytest.MonkeyPatch, unset: str | None
) -> None:
    if unset is None:
        monkeypatch.delenv("NESTLING_THREADS", raising=False)
    else:
        monkeypatch.setenv("NESTLING_THREADS", unset)
    granted = getattr(os, "sched_getaffinity", None)
    assert thread_count(None) == (len(granted(0)) if granted else os.cpu_count())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds a process to cores")
def test_cores_that_are_not_granted_are_not_counted() -> None:
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
