"""validate and config, which check manifests and settings; db upgrade, which creates the tables."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from masterjob.cli import render
from masterjob.cli.options import (
    CONFIG_SECTIONS,
    ConfigFileOption,
    DatabaseOptions,
    OutputFormat,
    OutputOption,
    PathsArgument,
    config_file_to_exclude,
)
from masterjob.config.documents import Document, describe_unknown_names
from masterjob.config.settings import load_config_document, resolve_settings
from masterjob.controller.managed_locks import declared_settings
from masterjob.errors import SettingError
from masterjob.jobs.registry import load_jobs
from masterjob.resource.files import list_manifests, parse_file
from masterjob.resource.masterjob import Resource

VALIDATE_HELP = """Check manifests and the config file without running anything.

\b
  masterjob validate manifests/
  masterjob validate manifests/ --config config.yaml

With a config file, the jobs that the manifests name must exist.

Exit code 1 if anything is not valid.
JSON: {valid, resources: [{name, lockName, job, enabled, where}], errors}.
"""
CONFIG_HELP = """Show the settings in effect, and where each was set.

An option comes before the environment, the environment before the config file, the config file before the default.

\b
  masterjob config --config config.yaml
  MASTER_JOB_HEARTBEAT_INTERVAL=4s masterjob config

Passwords are masked. A database in a file is shown as the path of the file. JSON: a list of {name, value, source}.
"""
UPGRADE_HELP = """Create the tables, or upgrade them.

Every instance does this when it starts; use the command if instances may not create tables.

\b
  masterjob db upgrade --database-file owner-url
"""


def validate(
    paths: PathsArgument, config: ConfigFileOption = None, output: OutputOption = OutputFormat.TABLE
) -> None:
    """Check manifests and the config file."""
    resources, errors = _read_manifests(paths, config_file_to_exclude(config))
    document = load_config_document(os.environ, config)
    if document is not None:
        errors += describe_unknown_names(document, CONFIG_SECTIONS) + _job_errors(document, resources)
    errors += _timing_errors(document, resources) + _conflict_errors(resources)
    if output is OutputFormat.JSON:
        render.print_json(
            {"valid": not errors, "resources": [_resource_json(each) for each in resources], "errors": errors}
        )
    else:
        if resources:
            render.print_table(
                ("MasterJob", "Lock", "Job", "Enabled", "Where"), [_resource_row(each) for each in resources]
            )
        for error in errors:
            typer.echo(f"masterjob: {error}", err=True)
    if errors:
        raise typer.Exit(1)


def _read_manifests(paths: Sequence[Path], exclude: Path | None) -> tuple[list[Resource], list[str]]:
    resources: dict[str, Resource] = {}
    errors = [f"{path}: no such file or directory" for path in paths if not path.exists()]
    for file in [file for path in paths for file in list_manifests(path, exclude)]:
        parsed = parse_file(file)
        errors += parsed.errors
        for source, resource in parsed.resources:
            if source in resources:
                other = resources[source].locate(())
                errors.append(f"{resource.locate(())}: {resource.display_name} is already defined in {other}")
            resources.setdefault(source, resource)
    if not resources and not errors:
        errors.append(f"no MasterJob found in {', '.join(map(str, paths))}")
    return list(resources.values()), errors


def _job_errors(document: Document, resources: Sequence[Resource]) -> list[str]:
    jobs, errors = load_jobs(document)
    unknown = [each for each in resources if each.job not in jobs and each.job not in errors]
    return [*map(str, errors.values()), *(each.unknown_job_message(jobs) for each in unknown)]


def _timing_errors(document: Document | None, resources: Sequence[Resource]) -> list[str]:
    errors = []
    for resource in resources:
        try:
            resolve_settings(declared_settings(resource), os.environ, document, require_database=False)
        except SettingError as error:
            errors.append(str(error))
    return errors


def _conflict_errors(resources: Sequence[Resource]) -> list[str]:
    owners: dict[str, Resource] = {}
    pairs = [(owners.setdefault(each.lock_name, each), each) for each in resources]
    return [each.conflict_message(before) for before, each in pairs if before is not each]


def _resource_row(resource: Resource) -> tuple[str, ...]:
    enabled = "true" if resource.enabled else "false"
    return resource.key, resource.lock_name, resource.job, enabled, resource.locate(())


def _resource_json(resource: Resource) -> dict[str, Any]:
    return {
        "name": resource.key,
        "lockName": resource.lock_name,
        "job": resource.job,
        "enabled": resource.enabled,
        "where": resource.locate(()),
    }


def config(database: DatabaseOptions, output: OutputOption = OutputFormat.TABLE) -> None:
    """Show the settings in effect."""
    settings = resolve_settings(database.as_settings(), os.environ, database.config, require_database=False)
    if output is OutputFormat.JSON:
        render.print_json(
            [{"name": name, "value": value, "source": source} for name, value, source in settings.display_rows()]
        )
    else:
        render.print_table(("Setting", "Value", "Source"), settings.display_rows())


def upgrade(database: DatabaseOptions) -> None:
    """Create or upgrade the tables."""
    prepared_database = database.prepare_database()
    typer.echo(f"the tables in {prepared_database.redacted_url} are up to date")
