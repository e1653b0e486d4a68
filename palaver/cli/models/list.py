"""`palaver models` alone: what can be named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from palaver.cli.wording import columns, line
from palaver.config import Config


async def list_models(config: Config, as_json: bool) -> None:
    """Print the models of whatever owns the store."""
    from palaver.cli.link import Link
    from palaver.cli.terminal import Terminal

    async with Link(config) as link:
        found = await link.palaver.models()
        terminal = Terminal()
        if as_json:
            terminal.say(json.dumps(found, ensure_ascii=False, indent=2))
            return
        for row in columns(rows(found, link.palaver.model)):
            terminal.say(row)


def rows(models: Sequence[Mapping[str, Any]], default: str) -> list[list[str]]:
    """A line for each model: ``*`` for the one that answers where none is named, name, context, the rest."""
    return [
        [
            "*" if default in (model["id"], *model.get("aliases", ())) else " ",
            model["id"],
            f"{model['context_length']:,} tokens" if model.get("context_length") else "",
            "embeddings" if model.get("type") == "embedding" else "",
            line(model.get("description", "")) + _aliases(model.get("aliases", ())),
        ]
        for model in models
    ]


def _aliases(aliases: Sequence[str]) -> str:
    return f" (also {', '.join(aliases)})" if aliases else ""
