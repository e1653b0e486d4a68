"""`palaver head`: where a conversation goes on."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from palaver.cli.options import WHERE, takes
from palaver.config import Config


@takes(*WHERE)
def head(
    conversation: Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="As `palaver list` says it.")],
    message: Annotated[
        str,
        typer.Argument(metavar="MESSAGE", help="The id of a message, or its end, as `palaver tree` says it."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Choose the branch of a conversation that is read by default and goes on. Nothing is deleted."""
    from palaver.cli.link import run

    run(_head(config, conversation, message, as_json), config)


async def _head(config: Config, ref: str, message: str, as_json: bool) -> None:
    from palaver.cli.link import Link
    from palaver.cli.messages import message_id
    from palaver.cli.show import heading, last_items, show_item
    from palaver.cli.terminal import Terminal

    async with Link(config) as link:
        chosen = await message_id(link.palaver, ref, message)
        conversation = await link.palaver.set_head(ref, chosen)
        items = await last_items(link.palaver, conversation["id"], 1)
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps(conversation, ensure_ascii=False, indent=2))
        return
    terminal.say(heading(conversation), "bold")
    terminal.note("It goes on after this message:")
    for item in items:
        show_item(terminal, item)
