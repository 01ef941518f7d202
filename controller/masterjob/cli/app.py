"""The commands by name, their exit codes, and how errors are printed: one sentence, no traceback."""

import functools
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

import typer

from masterjob.cli import checks, controls, housekeeping, locks, operator, report, run
from masterjob.cli.options import expand_option_groups
from masterjob.errors import MasterJobError, StoreRefused, StoreUnavailable

EXIT_REFUSED = 1
EXIT_UNAVAILABLE = 3

HELP = """Run a job on one of many instances at a time, elected through the SQL database you already have.

\b
  masterjob run manifests/ --config config.yaml       run jobs of manifests
  masterjob operator --namespace reports              run jobs in Kubernetes
  masterjob list                                      show who is master
  masterjob disable REPORT --reason "moving house"    stop a job everywhere
  masterjob enable REPORT                             let it run again

The database is named by --database or --database-file, by MASTERJOB_DATABASE_URL or MASTERJOB_DATABASE_URL_FILE,
or in the config file (--config or MASTERJOB_CONFIG).

Exit codes: 0 success; 1 refused, not valid or not found; 2 wrong usage; 3 the database did not answer.
"""


def report_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command; its expected errors are printed as one sentence and set the exit code."""

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> None:
        try:
            command(**arguments)
        except StoreRefused as error:
            _print_error(f"the database refuses this process, because {error.refusal}: {error}")
            raise typer.Exit(EXIT_REFUSED) from None
        except StoreUnavailable as error:
            _print_error(f"the database did not answer: {error}")
            raise typer.Exit(EXIT_UNAVAILABLE) from None
        except MasterJobError as error:
            _print_error(str(error))
            raise typer.Exit(EXIT_REFUSED) from None

    return wrapper


def _print_error(message: str) -> None:
    print(f"masterjob: {message}", file=sys.stderr)  # noqa: T201 - for the terminal


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"masterjob {version('masterjob')}")
        raise typer.Exit


app = typer.Typer(
    name="masterjob",
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the examples in the help contain brackets
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root_command(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _add_command(group: typer.Typer, name: str, help_text: str, command: Callable[..., None]) -> None:
    group.command(name, help=help_text)(report_errors(expand_option_groups(command)))


_add_command(app, "run", run.RUN_HELP, run.run)
_add_command(app, "operator", operator.OPERATOR_HELP, operator.operator)
_add_command(app, "list", locks.LIST_HELP, locks.list_all)
_add_command(app, "status", locks.STATUS_HELP, locks.status)
_add_command(app, "history", locks.HISTORY_HELP, locks.history)
_add_command(app, "report", report.REPORT_HELP, report.report)
_add_command(app, "enable", controls.ENABLE_HELP, controls.enable)
_add_command(app, "disable", controls.DISABLE_HELP, controls.disable)
_add_command(app, "step-down", controls.STEP_DOWN_HELP, controls.step_down)
_add_command(app, "forget", housekeeping.FORGET_HELP, housekeeping.forget)
_add_command(app, "prune", housekeeping.PRUNE_HELP, housekeeping.prune)
_add_command(app, "validate", checks.VALIDATE_HELP, checks.validate)
_add_command(app, "config", checks.CONFIG_HELP, checks.config)

db = typer.Typer(help="Manage the tables in the database.", no_args_is_help=True, rich_markup_mode=None)
_add_command(db, "upgrade", checks.UPGRADE_HELP, checks.upgrade)
app.add_typer(db, name="db")
