"""The command line: options only. Every command is a method of `Atlas`, and its options a stage's config."""

import logging
import sys
from typing import Annotated

import typer

from peculiar import __version__

# isort: off
from peculiar.cli import job, look, characterize, judge  # noqa: F401  (they register their commands, in this order)
from peculiar.cli import explore, label, catalog, sky, follow  # noqa: F401

# isort: on
from peculiar.cli.commands import FAILED, app
from peculiar.cli.console import LogHandler, console, escaped

__all__ = ["app", "main"]
EXPECTED_ERRORS = (ValueError, FileNotFoundError, KeyError, TypeError, ArithmeticError, ImportError, OSError)


def main() -> None:
    """Run the command line; expected errors become one sentence and exit code 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[LogHandler()])
    logging.getLogger("peculiar").setLevel(logging.INFO)
    logging.getLogger().setLevel(logging.WARNING)
    try:
        app()
    except EXPECTED_ERRORS as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        console().print(f"[bold red]error:[/] {escaped(text)}")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        console().print("interrupted; the same command goes on where it stopped")
        sys.exit(130)


def _version(is_asked: bool) -> None:
    if is_asked:
        console(is_error=False).print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    pass
