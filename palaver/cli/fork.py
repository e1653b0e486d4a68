"""`palaver fork`: a branch as a conversation of its own."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from palaver.cli.options import WHERE, takes
from palaver.config import Config


@takes(*WHERE)
def fork(
    conversation: Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="As `palaver list` says it.")],
    message: Annotated[
        str | None,
        typer.Argument(
            metavar="[MESSAGE]",
            help="The last message to copy: its id, or the end of it, as `palaver tree` says it. By default the "
            "head.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="A name for the copy.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Copy a branch into a conversation of its own, and print that one's name or id.

    Either can be deleted, and the other stays.
    """
    from palaver.cli.link import run

    run(_fork(config, conversation, message, name, as_json), config)


async def _fork(config: Config, ref: str, message: str | None, name: str | None, as_json: bool) -> None:
    from palaver.cli.link import Link
    from palaver.cli.messages import message_id
    from palaver.cli.names import ref_of
    from palaver.cli.terminal import Terminal

    async with Link(config) as link:
        end = await message_id(link.palaver, ref, message) if message else None
        copy = await link.palaver.fork(ref, end, name=name)
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps(copy, ensure_ascii=False, indent=2))
        return
    called = ref_of(copy)
    terminal.say(called)
    terminal.note(f"{copy['messages']} messages were copied; `palaver chat {called}` goes on there.")
