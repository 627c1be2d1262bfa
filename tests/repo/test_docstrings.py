"""The examples of the docstrings run, and everything public has one."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import os
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_exports import imported, members

import nestling

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL

# The doors of the package: what the reference documents. Everything else serves these.
DOORS = (
    "nestling",
    "nestling.bench.generate",
    "nestling.cluster",
    "nestling.collection",
    "nestling.corpus",
    "nestling.evaluation",
    "nestling.evaluation.mteb",
    "nestling.index",
    "nestling.integrations.haystack",
    "nestling.integrations.langchain",
    "nestling.integrations.llama_index",
    "nestling.models",
    "nestling.training",
    "nestling.tuning",
)

RUNNABLE = [
    "nestling",
    *(
        module.name
        for module in pkgutil.walk_packages(nestling.__path__, "nestling.")
        if not module.name.endswith("__main__")
    ),
]


# Marks an example that needs a model, which is fetched once: it runs among the slow tests.
MODEL = doctest.register_optionflag("MODEL")


def uses_models(name: str) -> bool:
    """Whether a module has examples that need a model; read from its source, not imported."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return spec.origin.endswith(".py") and "+MODEL" in Path(spec.origin).read_text("utf-8")


def examples(name: str) -> list[doctest.DocTest]:
    """Returns the examples of a module, those of its private parts included."""
    module = imported(name)
    names = {"nestling": nestling, "np": np}
    found = doctest.DocTestFinder(exclude_empty=True).find(module, extraglobs=names)
    return [test for test in found if test.examples]


def failures_of(tests: list[doctest.DocTest], folder: Path) -> str:
    """Runs the examples of each docstring in a folder of its own; returns what went wrong."""
    failures: list[str] = []
    for number, test in enumerate(tests):
        own = folder / str(number)
        own.mkdir()
        os.chdir(own)
        doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=failures.append)
    return "\n".join(failures)


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_examples_of_a_module_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tests = examples(name)
    for example in (part for test in tests for part in test.examples):
        if example.options.get(MODEL):
            example.options[doctest.SKIP] = True
    assert not failures_of(tests, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RUNNABLE if uses_models(name)])
def test_the_examples_with_models_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not failures_of(examples(name), tmp_path)


def public() -> Iterator[tuple[str, object]]:
    """Every public class, function and method, once, by its dotted name."""
    seen: set[int] = set()
    for name in DOORS:
        try:
            module = imported(name)
        except pytest.skip.Exception:  # what wraps a package that is not installed
            continue
        for item in module.__all__:
            value = getattr(module, item)
            if id(value) in seen or not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            if not value.__module__.startswith("nestling") or value.__module__ == "nestling._core":
                continue
            seen.add(id(value))
            yield f"{name}.{item}", value


PUBLIC = dict(public())


def has_example(value: object) -> bool:
    return ">>>" in (inspect.getdoc(value) or "")


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_has_an_example(name: str) -> None:
    """A class, or each of its public methods; properties are shown by the class."""
    value = PUBLIC[name]
    if inspect.isclass(value) and (issubclass(value, BaseException) or is_protocol(value)):
        return
    missing = [] if has_example(value) else [name]
    if inspect.isclass(value):
        missing += [
            f"{name}.{member}"
            for member, method in members(value).items()
            if not isinstance(method, property)
            and getattr(value, member).__module__.startswith("nestling")  # pydantic adds some
            and not has_example(getattr(value, member))
        ]
    assert not missing


def is_protocol(value: type) -> bool:
    return bool(getattr(value, "_is_protocol", False))
