"""No ISA file leaks code: what it compiles with its flags must never be run on another CPU.

A weak symbol, such as an inline function of the standard library, may be taken by the linker from
any object that has it: from the AVX-512 one, for everyone. At -O0 nothing is inlined away, so that
every such symbol shows.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
# One call an ISA: nestling_isa(name -mflag …). Scalar code needs no flags.
ISAS: dict[str, list[str]] = {"scalar": []} | {
    name: flags.split()
    for name, flags in re.findall(r"^\s*nestling_isa\((\w+)([^)]*)\)", CMAKE, re.M)
}
COMPILERS = {
    "x86": [os.environ.get("CXX", ""), "c++", "x86_64-linux-gnu-g++"],
    "arm": [os.environ.get("CXX", ""), "c++", "aarch64-linux-gnu-g++"],
}


def compiler_for(isa: str) -> str:
    """Returns the first compiler on this machine that makes code for the ISA's family."""
    family = "arm" if isa.startswith("neon") else "x86"
    for name in COMPILERS[family]:
        path = shutil.which(name) if name else None
        if path is None:
            continue
        target = subprocess.run([path, "-dumpmachine"], capture_output=True, text=True, check=True)
        if target.stdout.startswith(("aarch64", "arm64")) == (family == "arm"):
            return path
    pytest.skip(f"no compiler for {family} on this machine")


def test_every_isa_file_has_its_flags_in_cmake() -> None:
    files = {path.stem for path in (ROOT / "cpp" / "simd").glob("*.cpp")} - {"cpu"}
    assert ISAS.keys() == files


@pytest.mark.parametrize("isa", ISAS)
def test_an_isa_exports_its_table_and_nothing_else(isa: str, tmp_path: Path) -> None:
    compiler = compiler_for(isa)
    target = tmp_path / "isa.o"
    source = ROOT / "cpp" / "simd" / f"{isa}.cpp"
    command = [compiler, "-std=c++20", "-O0", "-fPIC", *ISAS[isa], "-I", str(ROOT / "cpp")]
    subprocess.run([*command, "-c", str(source), "-o", str(target)], check=True)
    listed = subprocess.run(
        ["nm", "--defined-only", "--extern-only", "-C", str(target)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(listed) == 1, "\n".join(listed)
    assert re.search(r" [RDB] nestling::simd::k\w+$", listed[0]), listed[0]
