"""Every public module says what it exports, in order, and every export is documented."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import get_origin

import pytest

import nestling

MODULES = [
    "nestling",
    *(
        module.name
        for module in pkgutil.walk_packages(nestling.__path__, "nestling.")
        if not any(part.startswith("_") for part in module.name.split("."))
    ),
]


def imported(name: str) -> ModuleType:
    """Imports a module; what wraps a package of others is left out where that is absent."""
    try:
        return importlib.import_module(name)
    except nestling.PackageError as error:
        pytest.skip(str(error))


def order(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions: the order that ruff keeps (RUF022)."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def own(module: ModuleType) -> dict[str, object]:
    """Public classes and functions that the module itself defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }


def members(value: type) -> dict[str, object]:
    """Public methods and properties that a class itself defines."""
    return {
        name: member
        for name, member in vars(value).items()
        if not name.startswith("_")
        and (callable(member) or isinstance(member, (property, classmethod, staticmethod)))
    }


@pytest.mark.parametrize("name", MODULES)
def test_all_is_sorted_and_real(name: str) -> None:
    module = imported(name)
    exported = module.__all__
    assert list(exported) == sorted(exported, key=order)
    assert len(set(exported)) == len(exported)
    for item in exported:
        assert getattr(module, item) is not None


@pytest.mark.parametrize("name", MODULES)
def test_what_is_public_is_exported(name: str) -> None:
    module = imported(name)
    assert own(module).keys() <= set(module.__all__)


def test_the_package_exports_its_errors_and_main_classes() -> None:
    from nestling import errors

    assert set(errors.__all__) <= set(nestling.__all__)
    assert {"Encoder", "Funnel", "Hits", "Index", "Stage", "StageStats"} <= set(nestling.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        nestling.nonsense  # noqa: B018
    assert set(nestling.__all__) <= set(dir(nestling))


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_a_docstring(name: str) -> None:
    module = imported(name)
    assert module.__doc__, name
    for item in module.__all__:
        value = getattr(module, item)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if get_origin(value) is not None:
            continue  # an alias of a type, which Python 3.10 takes for a class
        assert inspect.getdoc(value), f"{name}.{item}"
        if inspect.isclass(value):
            for member in members(value):
                assert inspect.getdoc(getattr(value, member)), f"{name}.{item}.{member}"
