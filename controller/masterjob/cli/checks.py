"""The commands that look at settings and manifests, and the one that makes the tables."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from masterjob.cli import shown
from masterjob.cli.options import CONFIG_SECTIONS, ConfigFile, DatabaseOptions, Format, Output, Paths, no_manifest
from masterjob.controller.participation import given_settings
from masterjob.documents import Document, unknown_names
from masterjob.election.errors import SettingError
from masterjob.jobs import named
from masterjob.resource.files import content_of, manifests
from masterjob.resource.resource import Resource
from masterjob.settings import config_document, config_section, resolve

VALIDATE = """Check manifests, and the config file if one is named, without running anything.

\b
  masterjob validate manifests/
  masterjob validate manifests/ --config config.yaml     (their jobs must be known there, too)

Exit code 1 where something is wrong. JSON: {valid, resources: [{name, lockName, job, enabled, where}], errors}.
"""
CONFIG = """The settings in effect, and where each came from: option > environment > config file > default.

\b
  masterjob config --config config.yaml
  MASTER_JOB_HEARTBEAT_INTERVAL=4s masterjob config

Passwords are masked. JSON: a list of {name, value, source}.
"""
UPGRADE = """Create the tables, or bring them up to date. Every instance does it by itself when it starts.

\b
  masterjob db upgrade --database postgresql://owner:password@host/name
"""


def validate(paths: Paths, config: ConfigFile = None, output: Format = Output.TABLE) -> None:
    """Check manifests."""
    resources, errors = _read(paths, no_manifest(config))
    document = config_document(os.environ, config)
    if document is not None:
        errors += unknown_names(document, CONFIG_SECTIONS) + _wrong_jobs(document, resources)
    errors += _wrong_timings(document, resources) + _conflicts(resources)
    if output is Output.JSON:
        shown.as_json({"valid": not errors, "resources": [_json(each) for each in resources], "errors": errors})
    else:
        if resources:
            shown.table(("MasterJob", "Lock", "Job", "Enabled", "Where"), [_row(each) for each in resources])
        for error in errors:
            typer.echo(f"masterjob: {error}", err=True)
    if errors:
        raise typer.Exit(1)


def _read(paths: Sequence[Path], besides: Path | None) -> tuple[list[Resource], list[str]]:
    resources: dict[str, Resource] = {}
    errors = [f"{path} is not there" for path in paths if not path.exists()]
    for file in [file for path in paths for file in manifests(path, besides)]:
        content = content_of(file)
        errors += content.errors
        for source, resource in content.resources:
            if source in resources:
                other = resources[source].where(())
                errors.append(f"{resource.where(())}: MasterJob {resource.key} is in {other} already")
            resources.setdefault(source, resource)
    if not resources and not errors:
        errors.append(f"there is no MasterJob in {', '.join(map(str, paths))}")
    return list(resources.values()), errors


def _wrong_jobs(document: Document, resources: Sequence[Resource]) -> list[str]:
    errors: list[str] = []
    jobs = named.discovered()
    section = config_section(document, "jobs")
    for name, entry in section.items():
        try:
            jobs.update(named.parse({name: entry}, document.below("jobs")))
        except SettingError as error:
            errors.append(str(error))
    unknown = [each for each in resources if each.job not in jobs and each.job not in section]
    return errors + [each.unknown_job(jobs) for each in unknown]


def _wrong_timings(document: Document | None, resources: Sequence[Resource]) -> list[str]:
    errors = []
    for resource in resources:
        try:
            resolve(given_settings(resource), os.environ, document, demand_database=False)
        except SettingError as error:
            errors.append(str(error))
    return errors


def _conflicts(resources: Sequence[Resource]) -> list[str]:
    first: dict[str, Resource] = {}
    found = [(first.setdefault(each.lock_name, each), each) for each in resources]
    return [each.conflict(before) for before, each in found if before is not each]


def _row(resource: Resource) -> tuple[str, ...]:
    enabled = "true" if resource.enabled else "false"
    return resource.key, resource.lock_name, resource.job, enabled, resource.where(())


def _json(resource: Resource) -> dict[str, Any]:
    return {
        "name": resource.key,
        "lockName": resource.lock_name,
        "job": resource.job,
        "enabled": resource.enabled,
        "where": resource.where(()),
    }


def config(database: DatabaseOptions, output: Format = Output.TABLE) -> None:
    """Show the settings in effect."""
    settings = resolve(database.as_settings(), os.environ, database.config, demand_database=False)
    if output is Output.JSON:
        shown.as_json(
            [{"name": name, "value": value, "source": source} for name, value, source in settings.shown()]
        )
    else:
        shown.table(("Setting", "Value", "Source"), settings.shown())


def upgrade(database: DatabaseOptions) -> None:
    """Create the tables or bring them up to date."""
    found = database.prepared()
    typer.echo(f"the tables in {found.shown} are up to date")
