"""report: for which share of the time each job ran, and why it did not."""

from typing import Annotated

import typer

from masterjob.availability.report import DEFAULT_PERIOD, AvailabilityReport, parse_period
from masterjob.cli import render
from masterjob.cli.locks import require_lock
from masterjob.cli.options import DatabaseOptions, OutputFormat, OutputOption
from masterjob.concurrency.clock import format_age
from masterjob.lock_status import format_timestamp
from masterjob.status_json import report_json

REPORT_HELP = """Show for which share of the time the jobs ran, and why they did not.

\b
  masterjob report
  masterjob report REPORT --since 7d
  masterjob report REPORT --since 24h --output json | jq .availability

The availability is the share of the time in which the lock was enabled and its job had not completed. The
history has at most 1,000 events of a lock; "Since" says which time they cover.

JSON: a list of {lockName, since, until, availability, demandedSeconds, runningSeconds, causes, gaps}, or one of
them if a lock is named. Exit code 1 if the lock was never used.
"""

LockNameOption = Annotated[
    str | None, typer.Argument(metavar="[LOCK]", help="Only this lock.", show_default=False)
]
SinceOption = Annotated[str, typer.Option("--since", metavar="TIME", help="How far back: 30d, 24h or 90m.")]


def report(
    lock_name: LockNameOption = None,
    *,
    since: SinceOption = DEFAULT_PERIOD,
    database: DatabaseOptions,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show for which share of the time the jobs ran."""
    period, admin = parse_period(since), database.lock_admin()
    if lock_name is not None:
        require_lock(admin, lock_name)
    reports = admin.report(period, lock_name)
    if output is OutputFormat.JSON:
        values = [report_json(each) for each in reports]
        render.print_json(values if lock_name is None else values[0])
    elif not reports:
        typer.echo("No lock has been used on this database yet.")
    elif lock_name is None:
        rows = [_row(each) for each in reports]
        columns = ("Lock", "Availability", "Gaps", "Missing", "Longest", "Since", "Causes")
        render.print_table(columns, rows, last_below=True)
    else:
        _print_one(reports[0])


def _row(report: AvailabilityReport) -> tuple[str, ...]:
    longest = max((gap.length.total_seconds() for gap in report.gaps), default=0.0)
    missing = (report.demanded - report.running).total_seconds()
    return (
        report.lock_name,
        _availability(report),
        str(len(report.gaps)),
        render.format_seconds(missing),
        render.format_seconds(longest),
        "no history" if report.since is None else format_timestamp(report.since),
        ", ".join(f"{each.count} {render.words(each.cause)}" for each in report.by_cause),
    )


def _print_one(report: AvailabilityReport) -> None:
    since = "no history" if report.since is None else format_timestamp(report.since)
    rows = [
        ("Since", since),
        ("Availability", _availability(report)),
        ("Enabled", format_age(report.demanded.total_seconds())),
    ]
    render.print_table(("Lock", report.lock_name), rows)
    if report.gaps:
        print()  # noqa: T201
        causes = [
            (
                render.words(each.cause),
                str(each.count),
                render.format_seconds(each.total.total_seconds()),
                render.format_seconds(each.longest.total_seconds()),
            )
            for each in report.by_cause
        ]
        render.print_table(("Cause", "Gaps", "In all", "Longest"), causes)
        print()  # noqa: T201
        gaps = [
            (
                format_timestamp(gap.start),
                render.format_seconds(gap.length.total_seconds()) + (", still open" if gap.is_open else ""),
                render.words(gap.cause),
            )
            for gap in reversed(report.gaps)
        ]
        render.print_table(("At", "Not running for", "Cause"), gaps)


def _availability(report: AvailabilityReport) -> str:
    """Return the share in percent. It is cut, not rounded: only a job without any gap has 100 %."""
    if report.availability is None:
        return "not enabled" if report.since is not None else "unknown"
    return f"{int(report.availability * 1e5) / 1e3:.3f} %"
