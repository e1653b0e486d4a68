"""`palaver models`: what can be named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from palaver.cli.options import ANSWERING, WHERE, takes
from palaver.cli.wording import columns
from palaver.config import Config


@takes("model", *ANSWERING, *WHERE)
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's list as it is.")] = False,
    *,
    config: Config,
) -> None:
    """List the models that can be named.

    Those are the running palaver's; where none runs, those of these settings.
    """
    from palaver.cli.link import run

    run(_models(config, as_json), config)


async def _models(config: Config, as_json: bool) -> None:
    from palaver.cli.link import Link
    from palaver.cli.terminal import Terminal

    async with Link(config) as link:
        found = await link.palaver.models()
        terminal = Terminal()
        if as_json:
            terminal.say(json.dumps(found, ensure_ascii=False, indent=2))
            return
        for line in columns(rows(found, link.palaver.model)):
            terminal.say(line)


def rows(models: Sequence[Mapping[str, Any]], default: str) -> list[list[str]]:
    """A line for each model: ``*`` for the one that answers where none is named, name, context, the rest."""
    return [
        [
            "*" if default in (model["id"], *model.get("aliases", ())) else " ",
            model["id"],
            f"{model['context_length']:,} tokens" if model.get("context_length") else "",
            model.get("description", "") + _aliases(model.get("aliases", ())),
        ]
        for model in models
    ]


def _aliases(aliases: Sequence[str]) -> str:
    return f" (also {', '.join(aliases)})" if aliases else ""
