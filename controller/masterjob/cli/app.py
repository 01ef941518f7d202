"""The commands by name, their exit codes, and how errors are said: in one sentence, without a traceback."""

import functools
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, ParamSpec

import typer

from masterjob.cli import checks, locks, operator, run
from masterjob.election.errors import MasterJobError, StoreUnavailable

REFUSED = 1
UNAVAILABLE = 3

HELP = """Run a job on exactly one of many instances, elected through the database you already have.

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


P = ParamSpec("P")


def in_sentences(command: Callable[P, None]) -> Callable[P, None]:
    """Return the command with its expected errors said as sentences, each with its exit code."""

    @functools.wraps(command)
    def said(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
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


app.command("run", help=run.HELP)(in_sentences(run.run))
app.command("operator", help=operator.HELP)(in_sentences(operator.operator))
app.command("list", help=locks.LIST)(in_sentences(locks.list_all))
app.command("status", help=locks.STATUS)(in_sentences(locks.status))
app.command("history", help=locks.HISTORY)(in_sentences(locks.history))
app.command("enable", help=locks.ENABLE)(in_sentences(locks.enable))
app.command("disable", help=locks.DISABLE)(in_sentences(locks.disable))
app.command("step-down", help=locks.STEP_DOWN)(in_sentences(locks.step_down))
app.command("validate", help=checks.VALIDATE)(in_sentences(checks.validate))
app.command("config", help=checks.CONFIG)(in_sentences(checks.config))

db = typer.Typer(help="The tables in the database.", no_args_is_help=True, rich_markup_mode=None)
db.command("upgrade", help=checks.UPGRADE)(in_sentences(checks.upgrade))
app.add_typer(db, name="db")
