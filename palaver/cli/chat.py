"""`palaver chat`: a conversation in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from palaver.cli.ask import Model, with_model
from palaver.cli.options import ANSWERING, WHERE, takes
from palaver.config import Config


@takes(*ANSWERING, *WHERE)
def chat(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="The conversation to begin or to go on with; without one a new one."
        ),
    ] = None,
    model: Model = None,
    go_on: Annotated[bool, typer.Option("--continue", help="Go on with the last conversation.")] = False,
    *,
    config: Config,
) -> None:
    """Talk with a model. Ctrl-C stops a reply, Ctrl-D leaves; /help says what else there is.

    Everything is kept: `palaver chat NAME` and `palaver chat --continue` go on, `palaver list` lists it.
    """
    from palaver.cli.link import run
    from palaver.cli.session import converse

    if name and go_on:
        raise typer.BadParameter("NAME says which conversation already.", param_hint="--continue")
    run(converse(with_model(config, model), model, name, go_on), config)
