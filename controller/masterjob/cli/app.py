"""The commands by name, their exit codes, and how errors are said: in one sentence, without a traceback."""

import functools
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

import typer

from masterjob.cli import checks, controls, locks
from masterjob.cli.options import spread
from masterjob.cli.staying import operator, run
from masterjob.election.errors import MasterJobError, StoreUnavailable

REFUSED = 1
UNAVAILABLE = 3

HELP = """Run a job on one of many instances at a time, elected through the database you already have.

\b
  masterjob run manifests/ --config config.yaml     take part in the elections
  masterjob operator --namespace reports            the same in a Kubernetes cluster
  masterjob list                                    who is master of what
  masterjob disable REPORT --reason "moving house"  stop a job everywhere, and say why
  masterjob enable REPORT                           let it run again

The database is named by --database, by MASTERJOB_DATABASE_URL, or in the config file
(--config or MASTERJOB_CONFIG).

Exit codes: 0 done; 1 refused, wrong, or not there; 2 mistyped; 3 the database did not answer.
"""


def in_sentences(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with its expected errors said as sentences, each with its exit code."""

    @functools.wraps(command)
    def said(**typed: Any) -> None:
        try:
            command(**typed)
        except StoreUnavailable as error:
            _say(f"the database did not answer: {error}")
            raise typer.Exit(UNAVAILABLE) from None
        except MasterJobError as error:
            _say(str(error))
            raise typer.Exit(REFUSED) from None

    return said


def _say(sentence: str) -> None:
    print(f"masterjob: {sentence}", file=sys.stderr)  # noqa: T201 - a terminal is who this is for


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"masterjob {version('masterjob')}")
        raise typer.Exit


app = typer.Typer(
    name="masterjob",
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the examples in the help are full of brackets
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    pass


def _add(to: typer.Typer, name: str, text: str, command: Callable[..., None]) -> None:
    to.command(name, help=text)(in_sentences(spread(command)))


_add(app, "run", run.HELP, run.run)
_add(app, "operator", operator.HELP, operator.operator)
_add(app, "list", locks.LIST, locks.list_all)
_add(app, "status", locks.STATUS, locks.status)
_add(app, "history", locks.HISTORY, locks.history)
_add(app, "enable", controls.ENABLE, controls.enable)
_add(app, "disable", controls.DISABLE, controls.disable)
_add(app, "step-down", controls.STEP_DOWN, controls.step_down)
_add(app, "validate", checks.VALIDATE, checks.validate)
_add(app, "config", checks.CONFIG, checks.config)

db = typer.Typer(help="The tables in the database.", no_args_is_help=True, rich_markup_mode=None)
_add(db, "upgrade", checks.UPGRADE, checks.upgrade)
app.add_typer(db, name="db")
