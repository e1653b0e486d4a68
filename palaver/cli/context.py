"""`palaver context`: what the model saw of a conversation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palaver.cli.ask import Model, with_model
from palaver.cli.options import ANSWERING, WHERE, takes
from palaver.config import Config
from palaver.core import ids
from palaver.core.errors import TurnNotFound

if TYPE_CHECKING:
    from palaver.library import Palaver


@takes(*ANSWERING, *WHERE)
def context(
    conversation: Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="As `palaver list` says it.")],
    turn: Annotated[
        str | None,
        typer.Option(
            metavar="TURN",
            help="In this turn instead of the last: its id, or that of its reply, or the end of that, as `palaver "
            "tree` says it.",
        ),
    ] = None,
    say: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="What the model, or the one of --model, would see if this were said next."
        ),
    ] = None,
    model: Model = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Every message, also in the middle of long runs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    *,
    config: Config,
) -> None:
    """Show what the model saw of a conversation when it last answered, what it did not see, and why.

    Messages are numbered from 1 on the path to what was answered.
    """
    from palaver.cli.link import run

    if turn is not None and say is not None:
        raise typer.BadParameter("A turn that there was says nothing of the next.", param_hint="--say")
    run(_context(with_model(config, model), conversation, turn, say, model, show_all, as_json), config)


async def _context(
    config: Config,
    ref: str,
    turn: str | None,
    say: str | None,
    model: str | None,
    show_all: bool,
    as_json: bool,
) -> None:
    from palaver.cli.link import Link
    from palaver.cli.receipt import lines_of
    from palaver.cli.show import heading
    from palaver.cli.talk import Talk
    from palaver.cli.terminal import Terminal, wide

    async with Link(config) as link:
        conversation = await link.palaver.conversation(ref)
        if turn is not None:
            receipt = await _of_turn(link.palaver, conversation["id"], turn)
        else:
            talk = Talk(link, model=model, name=conversation["id"])
            await talk.load()
            receipt = await (talk.receipt() if say is None else talk.foresee(say))
    terminal = Terminal()
    if as_json:
        terminal.say(json.dumps(receipt, ensure_ascii=False, indent=2))
        return
    terminal.say(heading(conversation), "bold")
    for line in lines_of(receipt, whole=show_all):
        terminal.say(line[: wide()])


async def _of_turn(palaver: Palaver, ref: str, given: str) -> dict[str, Any]:
    """The receipt of a turn of this conversation, by its id or that of its reply. Raises RequestError."""
    from palaver.cli.messages import message_id

    turn = given
    if ids.turn_id(given) is None:
        message = await message_id(palaver, ref, given)
        [item] = (await palaver.messages(ref, to=message, limit=1))["data"]
        if item["turn"] is None:
            raise TurnNotFound(f"No model wrote the message {given}.")
        turn = item["turn"]
    receipt = await palaver.receipt(turn)
    if receipt["conversation"] != ref:
        raise TurnNotFound(f"The turn {given} is of another conversation: {receipt['conversation']}.")
    return receipt
