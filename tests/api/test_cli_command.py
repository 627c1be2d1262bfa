"""Commands made of a dataclass of options, and how a command line ends."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import Annotated, get_args, get_type_hints

import pytest
import typer
from commands import Run
from hashing_encoder import HashingEncoder
from typer.testing import CliRunner

from nestling import Collection
from nestling.bench.app import app as bench_app
from nestling.cli.app import app
from nestling.cli.command import command
from nestling.cli.run import run_app
from nestling.errors import StorageError, TruncationWarning

MOST_PARAMETERS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Base):
    source: Annotated[Path, typer.Argument(help="Where from.")]
    names: Annotated[list[str] | None, typer.Option("--name", "-n")] = None
    loud: Annotated[bool, typer.Option("--loud")] = False


seen: list[tuple[str | None, Options]] = []


@command
def show(context: typer.Context, options: Options) -> None:
    """Show the options."""
    seen.append((context.info_name, options))


def test_a_command_reads_its_options_from_a_dataclass() -> None:
    small = typer.Typer()
    small.command()(show)
    runner = CliRunner()
    assert runner.invoke(small, ["in", "-n", "a", "--name", "b", "--loud"]).exit_code == 0
    assert runner.invoke(small, ["in", "--count", "3"]).exit_code == 0
    (_, first), (_, second) = seen
    assert first == Options(source=Path("in"), names=["a", "b"], loud=True)
    assert (second.source, second.count, second.loud) == (Path("in"), 3, False)
    assert runner.invoke(small, ["in", "--count", "0"]).exit_code == 2
    assert runner.invoke(small, []).exit_code == 2
    with pytest.raises(FrozenInstanceError):
        first.count = 4  # type: ignore[misc]
    text = runner.invoke(small, ["--help"]).output
    assert all(part in text for part in ("Show the options.", "How many.", "--loud", "--name"))


def test_a_command_keeps_the_signature_that_documentation_reads() -> None:
    parameters = inspect.signature(show).parameters
    assert list(parameters) == ["context", "count", "source", "names", "loud"]
    assert parameters["count"].default == 10
    assert parameters["source"].default is inspect.Parameter.empty
    hints = get_type_hints(show, include_extras=True)
    assert get_args(hints["count"])[1].help == "How many."
    assert (show.__name__, show.__doc__) == ("show", "Show the options.")


def functions(application: typer.Typer) -> list[object]:
    found = [each.callback for each in application.registered_commands]
    for group in application.registered_groups:
        assert group.typer_instance is not None
        found += functions(group.typer_instance)
    return found


@pytest.mark.parametrize("function", [*functions(app), *functions(bench_app)])
def test_every_command_is_documented_with_an_example(function: object) -> None:
    assert "Example: " in (inspect.getdoc(function) or "")


@pytest.mark.parametrize("function", [*functions(app), *functions(bench_app)])
def test_long_lists_of_options_travel_as_one_object(function: object) -> None:
    code = inspect.unwrap(function).__code__  # type: ignore[arg-type]
    assert code.co_argcount + code.co_kwonlyargcount <= MOST_PARAMETERS


def test_an_error_is_one_line_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    failing = typer.Typer()

    @failing.command()
    def fail() -> None:
        raise StorageError("the disk is full\nof [bold]whales[/bold]")

    with pytest.raises(SystemExit) as end:
        run_app(failing, [], program="fail")
    assert end.value.code == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: the disk is full of [bold]whales[/bold]\n")


def test_an_error_of_the_system_names_the_file_once(capsys: pytest.CaptureFixture[str]) -> None:
    failing = typer.Typer()

    @failing.command()
    def fail(message: str) -> None:
        raise StorageError(2, message, "server.toml")

    for message in ("no such file", "server.toml: no such file"):
        with pytest.raises(SystemExit):
            run_app(failing, [message], program="fail")
        assert capsys.readouterr().err == "error: server.toml: no such file\n"


def test_the_lines_of_a_help_text_are_joined(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "cluster that RAY_ADDRESS names, behind Ray Serve" in run("serve", "--help").out


def test_a_command_leaves_the_filters_of_warnings_as_they_were(run: Run, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 2000)
    before = list(warnings.filters)
    assert run("encode", tmp_path / "long.txt", "--out", tmp_path / "v.npy").code == 0
    assert warnings.filters == before
    with pytest.warns(TruncationWarning):
        HashingEncoder().encode(["word " * 2000])


def test_a_collection_gets_the_name_beside_the_encoder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[HashingEncoder] = []

    class FolderEncoder(HashingEncoder):
        def __init__(self, model: str, **options: object) -> None:
            super().__init__(model)
            self.name = "from-a-folder"
            opened.append(self)

    monkeypatch.setattr("nestling.encoder.Encoder", FolderEncoder)
    (tmp_path / "model").mkdir()
    (tmp_path / "a.txt").write_text("whales sing")
    model = ("--model", tmp_path / "model")
    assert run("index", tmp_path / "a.txt", "--out", tmp_path / "c", *model).code == 0
    assert [encoder.name for encoder in opened] == ["from-a-folder"]
    with Collection(tmp_path / "c", read_only=True) as collection:
        assert collection.info().encoder is not None
        assert collection.info().encoder.name == str(tmp_path / "model")
    assert run("search", tmp_path / "c", "whales", "--json").json["hits"][0]["id"] == "a.txt"
