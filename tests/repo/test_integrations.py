"""What the modules for other libraries say where the library is absent."""

from __future__ import annotations

import subprocess
import sys

import pytest

EXTRAS = {"haystack": "haystack", "langchain": "langchain_core", "llama-index": "llama_index"}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_absent_library_is_named_with_its_extra(extra: str) -> None:
    script = f"""
import sys
sys.modules[{EXTRAS[extra]!r}] = None
import nestling
try:
    import nestling.integrations.{extra.replace("-", "_")}
except nestling.PackageError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert f"pip install 'nestling[{extra}]'" in result.stdout
