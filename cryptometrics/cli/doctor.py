"""`cryptometrics doctor`: check the machine, the settings and both services, and say how to fix them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptometrics.doctor.diagnosis import Diagnosis

ANSWER_S = 5.0
"""Seconds a service has to answer."""
COLOURS = {"ok": "green", "warning": "yellow", "wrong": "red", "skipped": "dim"}


@click.command()
@options.as_json
def doctor(as_json: bool) -> None:
    """Check this machine, the settings, Kafka and PostgreSQL, and say how to fix what is wrong.

    It changes nothing. Exit code 1 if something is wrong; warnings alone do not count.

    \b
    Example:
      cryptometrics doctor
    """
    from cryptometrics.doctor.diagnosis import State

    findings = list(_findings(click.get_current_context().find_root()))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _show(findings)
    if any(finding.state is State.WRONG for finding in findings):
        raise click.exceptions.Exit(1)


def _findings(root: click.Context) -> Iterator[Diagnosis]:
    from cryptometrics.cli.settings_check import is_open_to_others, unknown_settings
    from cryptometrics.config import load
    from cryptometrics.doctor.configuration import check_configuration
    from cryptometrics.doctor.diagnosis import wrong
    from cryptometrics.doctor.kafka import check_kafka
    from cryptometrics.doctor.machine import check_machine
    from cryptometrics.doctor.postgres import check_postgres
    from cryptometrics.errors import UserError

    try:
        settings = load()
    except UserError as error:
        yield wrong("settings", str(error), "correct it, then run `doctor` again")
        return
    settings = replace(settings, wait=min(settings.wait, ANSWER_S))
    yield from check_configuration(unknown_settings(root), open_to_others=is_open_to_others())
    yield from check_machine(settings)
    yield from check_kafka(settings)
    yield from check_postgres(settings)


def _show(findings: Sequence[Diagnosis]) -> None:
    from rich.text import Text

    from cryptometrics.cli.output import print_table

    rows: list[list[str | Text]] = [
        [finding.check, Text(finding.state, COLOURS[finding.state]), finding.found] for finding in findings
    ]
    print_table(("check", "state", "found"), rows)
    # Below the table: in a cell, a long command would be folded and could not be copied.
    for finding in findings:
        if finding.fix is not None:
            click.echo(f"{finding.state}: {finding.check}: {finding.fix}")
