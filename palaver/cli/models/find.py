"""`palaver models find`: models and model servers that are on this machine already."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palaver.cli.options import WHERE, takes
from palaver.cli.wording import columns, line, size
from palaver.config import Config

if TYPE_CHECKING:
    from palaver.wiring.finding import FoundFile, FoundServer

PLACES = {"hub": "the hub's cache", "ollama": "Ollama", "lmstudio": "LM Studio", "llama.cpp": "llama.cpp"}


@takes("upstream", *WHERE)
def find(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Find GGUF files and running model servers on this machine.

    Files are looked for in the hub's cache and in the folders of Ollama, LM Studio and llama.cpp; servers at their
    default ports, and where OLLAMA_HOST says. Nothing is copied or changed.
    """
    from palaver import wiring
    from palaver.cli.direct import directly
    from palaver.wiring.finding import find_files, find_servers_of

    with directly(config):
        owner = wiring.find_owner(config)
        files = find_files()
        servers = asyncio.run(find_servers_of(config, owner.address if owner else None))
        if as_json:
            print(json.dumps(_as_json(files, servers), ensure_ascii=False, indent=2))
            return
        for row in columns(file_rows(files)) if files else []:
            print(row)
        for said in server_lines(servers):
            print(said)
        if files:
            print("\nAdd one, without copying it: palaver models add NAME", file=sys.stderr)
        elif not servers:
            print(
                "No GGUF files and no model servers found; `palaver models add` lists models to fetch.",
                file=sys.stderr,
            )


def file_rows(files: list[FoundFile]) -> list[list[str]]:
    """A line for each file: name, size, whose it is, and what is wrong with it if anything is."""
    return [
        [
            line(each.name),
            size(each.size),
            PLACES[each.where],
            f"cannot be used: {line(each.problem)}" if each.problem else _also(each),
        ]
        for each in files
    ]


def _also(file: FoundFile) -> str:
    return f"also {', '.join(map(line, file.also))}" if file.also else ""


def server_lines(servers: list[FoundServer]) -> list[str]:
    """What to add to reach each server."""
    return [
        f"{each.called} runs at {each.root} with {each.models} model{'s'[: each.models != 1]}: {each.advice}"
        for each in servers
    ]


def _as_json(files: list[FoundFile], servers: list[FoundServer]) -> dict[str, Any]:
    return {
        "files": [
            {
                "name": each.name,
                "also": each.also,
                "where": each.where,
                "files": [str(path) for path in each.files],
                "size": each.size,
                "problem": each.problem or None,
            }
            for each in files
        ],
        "servers": [
            {"kind": each.kind, "url": each.url, "models": each.models, "upstream": each.upstream}
            for each in servers
        ],
    }
