"""The documentation of the running Python's standard library, as a corpus.

Every public module, class and function with a docstring becomes one passage. Python sources are
parsed and never imported, since some modules open a browser, print, or need a display when they are
imported. Compiled modules have no source: those that are safe to import are listed here, and their
objects are inspected.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from nestling.corpus import Document
from nestling.errors import CorpusError

__all__ = ["read_stdlib_docs"]

MIN_CHARACTERS: Final = 20
MAX_WORDS: Final = 40
MAX_SIGNATURE: Final = 60

# The bound argument in the text signature of a compiled function.
_BOUND: Final = re.compile(r"\$\w+(, /)?(, )?")

# Applications, tests and modules that are being removed, although they are in the same folder.
EXCLUDED: Final = frozenset(
    {"antigravity", "distutils", "idlelib", "lib2to3", "test", "tests", "this", "turtledemo"}
)
# Modules that are documented under another name.
PATH_MODULES: Final = frozenset({"posixpath", "ntpath", "genericpath"})
# Public modules that are compiled, or that re-export names of a compiled one.
COMPILED: Final = """
    builtins os io math cmath time datetime decimal random struct array bisect heapq collections
    itertools functools operator re statistics string codecs unicodedata csv json pickle marshal
    binascii zlib bz2 lzma compression.zstd hashlib hmac zoneinfo uuid locale sys gc atexit errno
    faulthandler signal weakref types contextvars threading queue asyncio mmap select selectors
    socket ssl fcntl resource termios syslog pwd grp stat sqlite3 ctypes symtable tracemalloc
    xml.etree.ElementTree pyexpat winreg msvcrt
""".split()  # noqa: SIM905 - a list would take a line per name


def read_stdlib_docs() -> list[Document]:
    """Returns the passages: name and signature as title, the start of the docstring as text.

    The text ends before the first doctest, or after 40 words: these contain the point of nearly
    every docstring, and the time to encode grows with the number of words.

    Returns:
        Documents in the order of their names, each name once; the ids are the qualified names.

    Raises:
        CorpusError: This Python was installed without the sources of its library.

    Example:
        >>> docs = {document.id: document for document in read_stdlib_docs()}
        >>> docs["textwrap.wrap"].text[:40]
        'Wrap a single paragraph of text, returni'
    """
    root = Path(sysconfig.get_path("stdlib"))
    found: dict[str, Document] = {}
    for name, path in sorted(_sources(root)):
        for document in _parsed(name, path):
            found.setdefault(document.id or "", document)
    if not found:
        raise CorpusError(f"{root}: this Python has no sources of its standard library to read")
    for document in _compiled(COMPILED):
        found.setdefault(document.id or "", document)
    # Re-exports under a second name, and overrides with the same docstring, count once.
    unique: dict[tuple[str, str], Document] = {}
    for name, document in sorted(found.items(), key=lambda item: (item[0].count("."), item[0])):
        unique.setdefault((name.rpartition(".")[2], document.text), document)
    return sorted(unique.values(), key=lambda document: document.id or "")


def _sources(root: Path) -> Iterator[tuple[str, Path]]:
    """Yields the dotted name and the file of every public module under the library's folder."""
    for top in root.iterdir():
        if top.stem not in sys.stdlib_module_names:
            continue
        for path in (top,) if top.suffix == ".py" else top.rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            name = ".".join(parts)
            if name in PATH_MODULES:
                if name not in (os.path.__name__, "genericpath"):
                    continue
                name = "os.path"
            if all(map(_is_public, parts)):
                yield name, path


def _is_public(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_") and name not in EXCLUDED


def _parsed(name: str, path: Path) -> Iterator[Document]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in the library's own sources
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # one unreadable module of hundreds is no loss
    yield from _passage(name, "", ast.get_docstring(tree))
    yield from _parsed_body(name, tree.body)


def _parsed_body(prefix: str, body: Sequence[ast.stmt]) -> Iterator[Document]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not _is_public(node.name):
                continue
            name = f"{prefix}.{node.name}"
            if isinstance(node, ast.ClassDef):
                yield from _passage(name, "", ast.get_docstring(node))
                yield from _parsed_body(name, node.body)
            else:
                yield from _passage(name, f"({_arguments(node)})", ast.get_docstring(node))
        elif isinstance(node, ast.If | ast.Try):
            # Definitions that depend on the platform or on what can be imported.
            handlers = node.handlers if isinstance(node, ast.Try) else []
            for branch in (node.body, *(handler.body for handler in handlers), node.orelse):
                yield from _parsed_body(prefix, branch)


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Writes the parameters as a caller gives them: without annotations, self and cls."""
    arguments = function.args
    positional = arguments.posonlyargs or arguments.args
    if positional and positional[0].arg in ("self", "cls"):
        del positional[0]
    for argument in (
        *(*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs),
        *filter(None, (arguments.vararg, arguments.kwarg)),
    ):
        argument.annotation = None
    return ast.unparse(arguments)


def _compiled(modules: Sequence[str]) -> Iterator[Document]:
    for name in modules:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = importlib.import_module(name)
        except ImportError:
            continue  # not on this platform, or not in this version
        yield from _passage(name, "", inspect.getdoc(module))
        yield from _members(name, module)


def _members(prefix: str, owner: ModuleType | type) -> Iterator[Document]:
    """Yields the classes, compiled functions and compiled attributes that `owner` makes public."""
    exported = getattr(owner, "__all__", None)
    for name, value in sorted(vars(owner).items()):
        if not _is_public(name) or (exported is not None and name not in exported):
            continue
        if isinstance(value, classmethod | staticmethod):
            value = value.__func__
        if isinstance(value, type):
            if isinstance(owner, ModuleType):
                yield from _passage(f"{prefix}.{name}", "", value.__doc__)
                yield from _members(f"{prefix}.{name}", value)
        elif inspect.isroutine(value) and not inspect.isfunction(value):
            yield from _passage(f"{prefix}.{name}", _signature(value), value.__doc__)
        elif isinstance(owner, type) and inspect.isdatadescriptor(value):
            yield from _passage(f"{prefix}.{name}", "", value.__doc__)


def _signature(function: object) -> str:
    if inspect.ismethod(function):  # written in Python, as random.shuffle is of a hidden Random
        return str(inspect.signature(function))
    # Read as text: inspect.signature() evaluates the defaults, and some of them do not evaluate.
    written = getattr(function, "__text_signature__", None)
    return _BOUND.sub("", written) if isinstance(written, str) else ""


def _passage(name: str, signature: str, docstring: object) -> Iterator[Document]:
    """Yields the passage of one name, or nothing where its docstring says next to nothing."""
    if not isinstance(docstring, str):
        return
    words = docstring.partition(">>>")[0].split()
    if len(" ".join(words)) < MIN_CHARACTERS:
        return
    text = " ".join(words[:MAX_WORDS]) + (" …" if len(words) > MAX_WORDS else "")
    name = name.removeprefix("builtins.")
    if len(signature) > MAX_SIGNATURE:
        signature = signature[: max(1, signature.rfind(" ", 0, MAX_SIGNATURE))].rstrip() + " …)"
    yield Document(text, id=name, title=f"{name}{signature}")
