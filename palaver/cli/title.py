"""`palaver title`: what a conversation is called in lists."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from palaver.cli.options import WHERE, takes
from palaver.config import Config


@takes(*WHERE)
def title(
    conversation: Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="As `palaver list` says it.")],
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="The title; an empty one is its first words again.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Say what a conversation is called in lists, whatever is said there, and print that. Its name stays."""
    from palaver.cli.link import run

    run(_title(config, conversation, text, as_json), config)


async def _title(config: Config, ref: str, text: str, as_json: bool) -> None:
    from palaver.cli.link import Link
    from palaver.cli.terminal import Terminal
    from palaver.cli.wording import line

    async with Link(config) as link:
        conversation = await link.palaver.update_conversation(ref, title=text)
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps(conversation, ensure_ascii=False, indent=2))
        return
    if conversation["title"] is None:
        terminal.note("It has no title until somebody asks something there.")
        return
    terminal.say(line(conversation["title"]))
