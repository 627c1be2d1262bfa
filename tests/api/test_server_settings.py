"""Where a server's settings come from, and its API keys."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from commands import Run

from nestling.errors import ArgumentError, SettingError, StorageError
from nestling.server import ServerSettings
from nestling.server.errors import RequestError
from nestling.server.keys import ApiKeys, new_key, read_keys


def test_flags_come_before_the_environment_before_a_file_before_defaults(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('port = 1\nworkers = 2\nhost = "::1"\nmodels = ["minilm"]\n')
    environ = {"NESTLING_SERVER_PORT": "3", "NESTLING_SERVER_WORKERS": "4", "NESTLING_THREADS": "1"}
    settings = ServerSettings.load({"port": 5, "host": None}, file=file, environ=environ)
    assert (settings.port, settings.workers, settings.host) == (5, 4, "::1")
    assert settings.models == ("minilm",)
    assert settings.max_k == ServerSettings().max_k


def test_the_environment_has_lists_and_truth_values() -> None:
    environ = {"NESTLING_SERVER_MODELS": "minilm, e5", "NESTLING_SERVER_READ_ONLY": "true"}
    settings = ServerSettings.load({}, environ=environ)
    assert settings.models == ("minilm", "e5")
    assert settings.read_only


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port = 'many'", "port"),
        ("colour = 1", "'colour' is not a setting"),
        ("= 3", "not TOML"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "server.toml"
    file.write_text(text)
    with pytest.raises(SettingError, match=message) as error:
        ServerSettings.load({}, file=file)
    assert str(file) in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        ServerSettings.load({}, file=tmp_path / "none.toml")


@pytest.mark.parametrize("values", [{"workers": 0}, {"port": 70_000}, {"drain_seconds": -1}])
def test_values_out_of_range_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(values))):
        ServerSettings(**values)  # type: ignore[arg-type]


def test_the_settings_in_force_are_shown(run: Run, tmp_path: Path) -> None:
    shown = run("serve", tmp_path, "--port", "9", "--models", "minilm,e5", "--show-config").json
    assert shown["port"] == 9
    assert shown["models"] == ["minilm", "e5"]
    assert shown["collections"] == [str(tmp_path)]


def test_keys_are_made_listed_and_removed(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = run("keys", "add", file, "page", "--collections", "articles, team-*").out.strip()
    other = run("keys", "add", file, "loader", "--role", "write").out.strip()
    assert key != other
    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    listed = run("keys", "list", file, "--json").json
    assert listed[0] == {"name": "page", "role": "read", "collections": ["articles", "team-*"]}
    assert "loader" in run("keys", "list", file).out
    keys = ApiKeys.read(file)
    assert keys.identify(f"Bearer {key}").allows("read", "team-a")
    assert not keys.identify(f"bearer {key}").allows("read", "other")
    assert run("keys", "add", file, "page").code != 0
    assert run("keys", "remove", file, "page").code == 0
    assert run("keys", "remove", file, "page").code != 0
    with pytest.raises(RequestError, match="unknown"):
        ApiKeys.read(file).identify(f"Bearer {key}")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic abc", "Bearer x", "Bearer \udc80"])
def test_a_header_without_a_key_is_refused(header: str | None) -> None:
    _, record = new_key("page", "read")
    with pytest.raises(RequestError) as error:
        ApiKeys([record]).identify(header)
    assert error.value.status == 401


def test_a_key_under_another_scheme_is_refused() -> None:
    key, record = new_key("page", "read")
    with pytest.raises(RequestError):
        ApiKeys([record]).identify(f"Basic {key}")


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"a": 1}',
        '{"a": {"sha256": "00", "role": "read"}}',
        json.dumps({"a": {"sha256": "0" * 64, "role": "king"}}),
        json.dumps({"a": {"sha256": "0" * 64, "collections": "all"}}),
        json.dumps({"a": {"sha256": "0" * 64, "key": "plain"}}),
    ],
)
def test_a_malformed_file_of_keys_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content)
    with pytest.raises(SettingError) as error:
        read_keys(file)
    assert str(file) in str(error.value)
