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
            "  ".join(filter(None, [_described(model), _unkept(model)])),
        ]
        for model in models
    ]


def _described(model: Mapping[str, Any]) -> str:
    aliases = model.get("aliases", ())
    return line(model.get("description", "")) + (f" (also {', '.join(aliases)})" if aliases else "")


def _unkept(model: Mapping[str, Any]) -> str:
    """Why its KV cache is not kept, where the server says so."""
    cache = model.get("kv_cache") or {"kept": True}
    return "" if cache["kept"] else f"KV cache not kept: {line(cache['reason'])}"
