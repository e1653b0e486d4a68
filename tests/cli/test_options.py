"""Every setting is an option of `serve`, and flags go before the environment, and that before the file."""

import json
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from palaver.cli.main import app
from palaver.cli.options import described, flag
from palaver.config import Config, SettingError, load
from tests.cli.running import palaver

KEPT_OUT = {"upstream_key"}
"""A process list would show it."""


def test_every_setting_is_an_option_of_serve() -> None:
    options = {name for p in get_command(app).commands["serve"].params for name in p.opts}  # type: ignore[attr-defined]
    assert {flag(name) for name in Config.__struct_fields__ if name not in KEPT_OUT} <= options
    assert not {flag(name) for name in KEPT_OUT} & options


@pytest.mark.parametrize(
    "command",
    ["chat", "ask", "list", "show", "models", "where", "serve", "keys", "context", "epochs", "window"],
)
def test_every_command_can_be_told_which_store(command: str) -> None:
    options = {name for p in get_command(app).commands[command].params for name in p.opts}  # type: ignore[attr-defined]
    assert {"--store", "--data-dir", "--config"} <= options


@pytest.mark.parametrize("setting", Config.__struct_fields__)
def test_every_setting_says_what_it_means(setting: str) -> None:
    assert described(setting)[1].endswith(".")


def folder(*arguments: str, **environment: str) -> str:
    """The data directory that a command is to use."""
    done = CliRunner().invoke(app, arguments, env=environment)
    assert done.exit_code == 0, done.output
    found: str = json.loads(done.output)["data_dir"]
    return found


def test_a_flag_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("data_dir = 'from-file'\n")
    of_file = ["where", "--json", "--config", str(file)]
    assert folder(*of_file) == "from-file"
    assert folder("where", "--json", PALAVER_CONFIG=str(file)) == "from-file"
    assert folder(*of_file, PALAVER_DATA_DIR="from-env") == "from-env"
    assert folder(*of_file, "--data-dir", "flag", PALAVER_DATA_DIR="from-env") == "flag"


def test_options_may_stand_before_the_command_too() -> None:
    assert folder("--data-dir", "before", "where", "--json") == "before"
    assert folder("--data-dir", "before", "where", "--json", "--data-dir", "after") == "after"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["serve", "--port", "many"], ["port", "command line"]),
        (["serve", "--log-level", "loud"], ["log_level", "loud"]),
        (["serve", "--alias", "x"], ["alias", "NAME=VALUE"]),
        (["serve", "--host", "0.0.0.0"], ["host", "--api-key", "--no-auth"]),
        (["serve", "--store", "mysql://x"], ["store", "sqlite:///PATH"]),
        (["serve", "--store", "sqlite:///"], ["store", "names no file"]),
        (["serve", "--store", "sqlite:////"], ["store", "names no file"]),
        (["serve", "--model", "nothing-like-it"], ["model", "GGUF"]),
        (["serve", "--model", "missing/file.gguf"], ["missing/file.gguf", "does not exist"]),
        (["list", "--config", "missing.toml"], ["config", "missing.toml"]),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it(
    tmp_path: Path, arguments: list[str], names: list[str]
) -> None:
    done = palaver(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("palaver: ")
    assert done.stderr.count("\n") == 1
    assert all(name in done.stderr for name in names)


def test_a_bad_variable_is_named_with_where_it_stands(tmp_path: Path) -> None:
    done = palaver(tmp_path, "list", PALAVER_SLOTS="0")
    assert done.returncode == 2
    assert "slots" in done.stderr
    assert "the environment" in done.stderr


@pytest.mark.parametrize("keys", ["sk-hidden", "a=b,sk-hidden"])
def test_a_bad_key_is_not_repeated(tmp_path: Path, keys: str) -> None:
    done = palaver(tmp_path, "where", PALAVER_UPSTREAM_KEY=keys)
    assert done.returncode == 2
    assert done.stderr.startswith("palaver: upstream_key: ")
    assert "sk-hidden" not in done.stderr


def test_a_bad_key_in_the_file_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "palaver.toml"
    file.write_text('upstream_key = ["sk-hidden"]\n', encoding="utf-8")
    with pytest.raises(SettingError) as raised:
        load({}, file=file, environment={})
    assert "sk-hidden" not in str(raised.value)
