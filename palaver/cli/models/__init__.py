"""`palaver models`: what can be named, and what can be added to that."""

from __future__ import annotations

from typing import Annotated

import typer

from palaver.cli.models.add import add
from palaver.cli.models.find import find
from palaver.cli.models.list import list_models, rows
from palaver.cli.models.remove import remove
from palaver.cli.options import ANSWERING, WHERE, takes
from palaver.config import Config

__all__ = ["models", "rows"]

models = typer.Typer(name="models", rich_markup_mode=None)
models.command("add")(add)
models.command("find")(find)
models.command("remove")(remove)


@models.callback(invoke_without_command=True)
@takes("model", *ANSWERING, *WHERE)
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's list as it is.")] = False,
    *,
    config: Config,
    subcommand: str | None,
) -> None:
    """List the models that can be named, add and remove them, find those that are here.

    Without a command it lists the running palaver's; where none runs, those of these settings.
    """
    from palaver.cli.link import run

    if subcommand is None:
        run(list_models(config, as_json), config)
