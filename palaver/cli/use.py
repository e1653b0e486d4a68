"""`palaver use`: which model answers where none is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from palaver.cli.options import WHERE, takes, variable
from palaver.config import Config


@takes("upstream", *WHERE)
def use(
    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A model of `palaver models`, UPSTREAM/model, an alias, a GGUF file."
        ),
    ],
    *,
    config: Config,
    file: Path,
) -> None:
    """Make a model the default, in the configuration file.

    It is checked first: an added model's file, and an upstream's list. The rest of the file stays as it is.
    """
    from palaver.cli.link import run

    run(_use(config, name, file), config)


async def _use(config: Config, name: str, file: Path) -> None:
    from palaver import wiring
    from palaver.wiring.using import choose

    chosen = await choose(config, name, file)
    before = f", which was {chosen.before}" if chosen.before not in (None, chosen.model) else ""
    print(f"{file}: model = {chosen.model}{before}")
    if os.environ.get(variable("model")):
        print(f"{variable('model')} is set to {os.environ[variable('model')]}, and goes before the file.")
    owner = wiring.find_owner(config)
    if owner is not None and owner.model != chosen.model:
        print(f"The palaver at {owner.address} goes on with {owner.model} until it is started anew.")
