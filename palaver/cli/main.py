"""The command `palaver`. Modules that take long to load are imported by the commands that need them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from palaver import __version__
from palaver.cli.ask import ask
from palaver.cli.backup import backup
from palaver.cli.cache import cache
from palaver.cli.chat import chat
from palaver.cli.check import check
from palaver.cli.context import context
from palaver.cli.delete import delete
from palaver.cli.doctor import doctor
from palaver.cli.epochs import epochs
from palaver.cli.fork import fork
from palaver.cli.head import head
from palaver.cli.keys import keys
from palaver.cli.list import list_
from palaver.cli.models import models
from palaver.cli.open import open_
from palaver.cli.options import WHERE, passes_on
from palaver.cli.restore import restore
from palaver.cli.search import search
from palaver.cli.serve import serve
from palaver.cli.show import show
from palaver.cli.summary import summary
from palaver.cli.title import title
from palaver.cli.tree import tree
from palaver.cli.use import use
from palaver.cli.where import where
from palaver.cli.window import window
from palaver.config import SettingError
from palaver.core.errors import ConfigError, PalaverError

app = typer.Typer(
    name="palaver",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command, name in (
    (chat, "chat"),
    (ask, "ask"),
    (serve, "serve"),
    (open_, "open"),
    (list_, "list"),
    (search, "search"),
    (show, "show"),
    (tree, "tree"),
    (head, "head"),
    (fork, "fork"),
    (title, "title"),
    (summary, "summary"),
    (context, "context"),
    (epochs, "epochs"),
    (window, "window"),
    (delete, "delete"),
    (use, "use"),
    (where, "where"),
    (doctor, "doctor"),
    (check, "check"),
    (backup, "backup"),
    (restore, "restore"),
):
    app.command(name)(command)
app.add_typer(models)
app.add_typer(keys)
app.add_typer(cache)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"palaver {__version__}")
        raise typer.Exit


@app.callback()
@passes_on(*WHERE)
def palaver(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """Conversations with a model, all of them kept.

    Every setting is an option, an environment variable and a line in the configuration file.
    """


def main() -> None:
    """Run the command line; every foreseen error is one line on standard error.

    Exit codes: 0, 1 for an error, 2 for a setting or an option that cannot be used, 130 after Ctrl-C.
    """
    try:
        app()
    except (SettingError, ConfigError) as error:
        sys.exit(complaint(error, 2))
    except PalaverError as error:
        sys.exit(complaint(error, 1))


def complaint(error: Exception, code: int) -> int:
    """Say what went wrong, in one line; the exit code."""
    print("palaver:", " ".join(str(error).split()), file=sys.stderr)
    return code
