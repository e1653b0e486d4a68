"""The generated documentation is fresh, and says something of every command, setting, route and table."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from typer.main import get_command

from palaver.cli.main import app
from palaver.cli.options import flag, variable
from palaver.config import Config
from tests.conftest import environment
from tests.house.files import ROOT

REFERENCE = ROOT / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def test_what_is_generated_is_fresh() -> None:
    done = subprocess.run(
        (sys.executable, "-m", "docs.generate", "--check"),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr


def test_every_command_and_option_is_described() -> None:
    text = page("cli.md")
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        section = text.split(f"## palaver {name}\n")[1].split("\n## ")[0]
        for option in (o for p in command.params for o in p.opts if o.startswith("--")):
            assert option in section


@pytest.mark.parametrize("setting", Config.__struct_fields__)
def test_every_setting_is_described(setting: str) -> None:
    (row,) = [line for line in page("settings.md").splitlines() if line.startswith(f"| `{setting}` |")]
    assert f"`{variable(setting)}`" in row
    assert flag(setting) in row or setting == "upstream_key"


def test_every_table_and_column_of_the_migrations_is_described() -> None:
    sql = "".join(path.read_text() for path in (ROOT / "palaver/stores/migrations/sqlite").glob("*.sql"))
    text = page("schema.md")
    tables = re.findall(r"^CREATE TABLE (\w+) \((.*?)^\)", sql, re.MULTILINE | re.DOTALL)
    assert tables
    for table, body in tables:
        section = text.split(f"## {table}\n")[1].split("\n## ")[0]
        for column in re.findall(r"^ {4}([a-z_]+) ", body, re.MULTILINE):
            assert f"| `{column}` |" in section


def test_the_routes_that_clients_use_are_described() -> None:
    headings = set(re.findall(r"^## (.+)$", page("routes.md"), re.MULTILINE))
    assert {
        "POST /v1/chat/completions",
        "GET /v1/models",
        "GET /v1/conversations/{conversation}/messages",
    } <= headings
