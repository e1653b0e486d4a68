"""`palaver tree`: the branches of a conversation."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from palaver.cli.options import WHERE, takes
from palaver.config import Config


@takes(*WHERE)
def tree(
    conversation: Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="As `palaver list` says it.")],
    show_all: Annotated[
        bool, typer.Option("--all", help="Every message, also in the middle of long runs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Draw the branches of a conversation, one line for a message.

    Each line has the end of the message's id, which other commands take. * marks the head: where the
    conversation goes on. A question asked again, or edited, stands beside the first.
    """
    from palaver.cli.link import run

    run(_tree(config, conversation, show_all, as_json), config)


async def _tree(config: Config, ref: str, show_all: bool, as_json: bool) -> None:
    from palaver.cli.drawing import drawing
    from palaver.cli.link import Link
    from palaver.cli.messages import tree_of
    from palaver.cli.show import heading
    from palaver.cli.terminal import Terminal, wide

    async with Link(config) as link:
        conversation = await link.palaver.conversation(ref)
        items = await tree_of(link.palaver, conversation["id"])
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps({**conversation, "items": items}, ensure_ascii=False, indent=2))
        return
    terminal.say(heading(conversation), "bold")
    for line in drawing(items, conversation["head"], whole=show_all):
        terminal.say(line[: wide()])
