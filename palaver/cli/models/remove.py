"""`palaver models remove`: a model is forgotten, and its file deleted if that is meant."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from palaver.cli.options import WHERE, takes
from palaver.cli.wording import size
from palaver.config import Config
from palaver.core.errors import ConfigError


@takes(*WHERE)
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `palaver models` says it.")],
    keep_file: Annotated[bool, typer.Option("--keep-file", help="Forget it, and leave its file.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete its file without being asked.")] = False,
    *,
    config: Config,
) -> None:
    """Forget a model that was added.

    A file that was fetched from the hub is deleted too, after asking, unless another added model has it; any other
    stays where it is.
    """
    from palaver.cli.direct import directly
    from palaver.wiring.adding import added, forget, own_files

    if keep_file and yes:
        raise typer.BadParameter("--keep-file and --yes contradict each other.")
    with directly(config):
        model = added(config, name)
        delete = not keep_file and bool(own_files(config, model))
        if delete and not yes:
            delete = _asked(f"Delete its file too ({size(model.size)}, {model.path})?")
        forget(config, name, delete=delete)
    told = f", and its file of {size(model.size)} is deleted" if delete else ""
    print(f"{name} is forgotten{told}. A running palaver keeps it until it is started anew.", file=sys.stderr)
    if config.model == name:
        print(
            "It was the default, and is still named as that: choose another with `palaver use`.",
            file=sys.stderr,
        )


def _asked(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("Give --yes to delete its file too, or --keep-file to leave it.")
    return typer.confirm(question, err=True)
