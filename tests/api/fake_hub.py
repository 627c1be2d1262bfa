"""A huggingface_hub that a test puts in the place of the installed one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from nestling.models import hub as hub_module

__all__ = ["use_hub"]


def use_hub(
    monkeypatch: pytest.MonkeyPatch,
    *,
    endpoint: str | None = None,
    offline: bool = False,
    **functions: Callable[..., str],
) -> None:
    """Installs a hub of these functions; without an `endpoint` to connect to, it is reachable."""
    if endpoint is None:
        monkeypatch.setattr(hub_module, "_accepts_connections", lambda _: True)
    constants = SimpleNamespace(ENDPOINT=endpoint, HF_HUB_OFFLINE=offline)
    hub = SimpleNamespace(constants=constants, **functions)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
