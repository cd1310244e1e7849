"""The commands. Rooms are imported where they are used: asking for help must not load torch."""

import sys
from typing import Annotated

import typer

from nsgauge.cli import console
from nsgauge.cli.doctoring import doctor
from nsgauge.cli.exporting import export
from nsgauge.cli.importing import import_
from nsgauge.cli.judging import judge
from nsgauge.cli.planning import plan
from nsgauge.cli.reporting import report
from nsgauge.cli.scoring import score
from nsgauge.cli.training import demo, train
from nsgauge.errors import NsgaugeError

app = typer.Typer(
    name="nsgauge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Distils an LLM judge's verdicts on vision-language models into a small classifier, and "
    "reports how far to trust it.",
)

for command in (demo, import_, doctor, plan, judge, train, score, report, export):
    app.command(command.__name__.rstrip("_"))(command)


def _print_version(*, wanted: bool) -> bool:
    if wanted:
        from nsgauge import __version__

        typer.echo(__version__)
        raise typer.Exit
    return wanted


@app.callback()
def main_options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run a command; what the user can mend is one line on stderr and exit code 2."""
    try:
        app()
    except NsgaugeError as error:
        console.show_error(str(error))
        sys.exit(2)
    except OSError as error:
        # A path that isn't ours to write, a full disk: the user's to mend, and no bug of ours.
        where = f"{error.filename}: " if error.filename else ""
        console.show_error(f"{where}{error.strerror or error}")
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == console.INTERRUPTED:
            console.show_error("stopped; started again as before, it goes on")
        raise
