"""Writes what in the documentation comes from the code: `python -m docs.generate`, with --check to look only."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, get_args, get_origin

import aiohttp
import typer
from typer.main import get_command

from palaver.cli import logs
from palaver.cli.main import app
from palaver.cli.options import SERVING, WHERE, default_text, described, flag, variable
from palaver.config import Config
from palaver.server.openapi import payload
from palaver.stores.migrations import migrations
from palaver.stores.sqlite_functions import add_functions
from palaver.wiring import assembly

REFERENCE = Path(__file__).parent / "reference"
MADE = "<!-- Written by `make docs`. Do not edit. -->\n"
COLUMN = re.compile(r"^ {4}(\w+) [^-]*(?:-- (.*))?$")
TABLE = re.compile(r"^CREATE (?:VIRTUAL )?TABLE (\w+)")
OURS = (
    "sql IS NOT NULL AND name NOT LIKE 'sqlite%' "
    "AND name NOT IN (SELECT name FROM pragma_table_list WHERE type = 'shadow')"
)
"""What a migration says: an index of words makes tables of its own, to be kept in."""
TABLES = f"SELECT name FROM sqlite_schema WHERE type = 'table' AND {OURS} ORDER BY rowid"  # noqa: S608
SCHEMA = f"SELECT sql FROM sqlite_schema WHERE {OURS} ORDER BY tbl_name, type <> 'table', type DESC, name"  # noqa: S608
WIDTH = 80
MANY = 2**31 - 1
"""Bounds beyond this are those of the number's type, and say nothing."""


def main() -> int:
    """Write the files, or say which of them are stale; the exit code."""
    documents = {
        "cli.md": cli(),
        "settings.md": settings(),
        "schema.md": schema(),
        "schema.sql": schema_sql(),
        "routes.md": routes(asyncio.run(openapi_document())),
    }
    if sys.argv[1:] == ["--check"]:
        stale = [name for name, text in documents.items() if _read(REFERENCE / name) != text]
        for name in stale:
            print(f"docs/reference/{name} is stale: run 'make docs'.", file=sys.stderr)
        return int(bool(stale))
    REFERENCE.mkdir(exist_ok=True)
    for name, text in documents.items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
    return 0


def cli() -> str:
    """Every command with its help, as the command line says it."""
    command: Any = get_command(app)
    parts = [
        f"{MADE}\n# The command line\n",
        "Options that are settings are described in [settings.md](settings.md). Exit codes: 0, 1 for an error, 2 for a "
        "setting or an option that cannot be used, 130 after Ctrl-C.\n",
        _help(command, "palaver"),
    ]
    for name, sub in _commands(command, "palaver"):
        parts += [f"\n## {name}\n", _help(sub, name)]
    return "\n".join(parts)


def _commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    """All commands below a group, with their whole names; a group stands before its own."""
    for own, command in group.commands.items():
        yield f"{name} {own}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{name} {own}")


def _help(command: Any, name: str) -> str:
    context: typer.Context = command.make_context(name, [], resilient_parsing=True, terminal_width=WIDTH)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"```\n{text.strip()}\n```"


def settings() -> str:
    """Every setting: its name in the file, its variable, its option, its default, what it means."""
    lines = [
        f"{MADE}\n# Settings\n",
        "Defaults, then the configuration file, then the environment, then options: the later one counts. The file\n"
        "is `palaver.toml` in your configuration folder (`palaver where` says where that is), or what `--config` or\n"
        "`PALAVER_CONFIG` names. Lists are comma-separated in the environment; tables are `NAME=VALUE` there and on\n"
        "the command line, where such options may be given several times.\n",
        "| in the file | in the environment | option | type | default | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for name in Config.__struct_fields__:
        kind, meaning = described(name)
        option = f"`{flag(name)}`" if name in (*SERVING, *WHERE) else ""
        cells = [f"`{name}`", f"`{variable(name)}`", option, _kind(kind), _code(default_text(name)), meaning]
        lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def _kind(kind: Any) -> str:
    if get_origin(kind) is list:
        return "list of texts"
    if get_origin(kind) is dict:
        return "table of texts"
    if kind in (str, int, float, bool):
        return {str: "text", int: "integer", float: "number", bool: "true or false"}[kind]
    inner = get_args(kind)
    return (
        _kind(inner[0])
        if inner and inner[0] in (int, float)
        else ", ".join(f"`{choice}`" for choice in inner)
    )


def schema() -> str:
    """Every table of a SQLite store, as the sum of all migrations makes it, with the comments in them."""
    lines = [
        f"{MADE}\n# The schema of a SQLite store\n",
        "Yours to read, with any SQLite program, also while palaver runs; never write to it. Times are milliseconds\n"
        "since 1970, UTC. `seq` only grows.\n",
    ]
    sources = [migration.sql for migration in migrations("sqlite")]
    comments = dict(_comments("\n".join(sources)))
    with closing(sqlite3.connect(":memory:")) as database:
        add_functions(database)
        for source in sources:
            database.executescript(source)
        for (table,) in database.execute(TABLES).fetchall():
            lines += [f"## {table}\n", *([comments[table, ""] + "\n"] if (table, "") in comments else [])]
            lines += ["| column | type | meaning |", "|---|---|---|"]
            keys = {
                row[3]: f"`{row[2]}.{row[4]}`"
                for row in database.execute(f"PRAGMA foreign_key_list({table})")
            }
            for _, name, kind, required, _, is_key in database.execute(f"PRAGMA table_info({table})"):
                meaning = ". ".join(filter(None, [comments.get((table, name), ""), keys.get(name)]))
                lines.append(
                    _row([f"`{name}`", kind + ("" if required or is_key else ", may be null"), meaning])
                )
            lines.append("")
    return "\n".join(lines)


def schema_sql() -> str:
    """The schema that all migrations together make, as SQLite has it: what each of them changes shows here."""
    with closing(sqlite3.connect(":memory:")) as database:
        add_functions(database)
        for migration in migrations("sqlite"):
            database.executescript(migration.sql)
        made = database.execute(SCHEMA).fetchall()
    return "\n".join(["-- Written by `make docs`. Do not edit.\n", *(f"{sql};\n" for (sql,) in made)])


def _comments(sql: str) -> Iterator[tuple[tuple[str, str], str]]:
    """What the SQL says of each table and column; a table's own comment stands above it, as column ``""``."""
    above, table = "", ""
    for line in sql.splitlines():
        if match := TABLE.match(line):
            table = match[1]
            if above:
                yield (table, ""), above
        elif table and (match := COLUMN.match(line)) and match[2]:
            yield (table, match[1]), match[2]
        elif line.startswith(")"):
            table = ""
        above = line.removeprefix("-- ") if line.startswith("-- ") else ""


async def openapi_document() -> dict[str, Any]:
    """What a running palaver says of its own API."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(data_dir=folder, model="scripted")
        logs.configure(config, quiet=True)
        async with (
            assembly.running(config, private=True) as running,
            aiohttp.ClientSession() as session,
            session.get(f"{running.owner.address}/openapi.json") as answer,
        ):
            document: dict[str, Any] = await answer.json()
            return document


def routes(document: dict[str, Any]) -> str:
    """Every route, with what may be sent to it."""
    lines = [
        f"{MADE}\n# The HTTP API\n",
        "A running palaver has this with all types at `/docs`, and as OpenAPI at `/openapi.json`. A path may begin\n"
        'with any number of `/v1`. Errors have the body `{"id": …, "error": {"message", "type", "param", "code"}}`.\n',
    ]
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines += [f"## {method.upper()} {path}\n", operation["summary"] + ".\n"]
            lines += [operation["description"] + "\n"] if operation["description"] else []
            lines += _table("parameter", _parameters(operation["parameters"]))
            lines += _table("field of the body", _fields(operation, schemas))
            lines += [f"Answers with {answer}.\n" for answer in [_answer(operation)] if answer]
    return "\n".join(lines)


def _parameters(parameters: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    for each in parameters:
        yield [f"`{each['name']}`", each["in"], _type(each["schema"]), each.get("description", "")]


def _fields(operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[list[str]]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    schema = schemas[_name(body["schema"])] if body else {}
    for name, field in schema.get("properties", {}).items():
        needed = "required" if name in schema.get("required", ()) else ""
        yield [f"`{name}`", needed, _type(field), field.get("description", "")]


def _answer(operation: dict[str, Any]) -> str:
    content = operation["responses"]["200"]["content"]
    told = {kind: payload(described.get("schema", {})) for kind, described in content.items()}
    return " or ".join(
        f"{_type(schema)} (`{kind}`)" if {"$ref", "anyOf"} & schema.keys() else f"`{kind}`"
        for kind, schema in told.items()
    )


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{_name(schema)}`"
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"] if choice is not None)
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"array of {_type(schema.get('items') or {})}"
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    told = [
        f"{word} {bound}"
        for word, bound in (("from", low), ("to", high))
        if bound is not None and abs(bound) < MANY
    ]
    return " ".join([kind, *told])


def _name(schema: dict[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _table(first: str, rows: Iterable[list[str]]) -> list[str]:
    cells = [_row(row) for row in rows]
    return [f"| {first} | | type | meaning |", "|---|---|---|---|", *cells, ""] if cells else []


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
