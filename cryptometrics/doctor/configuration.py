"""Checks of the configuration: unknown variables, and a `.env` that others can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.doctor.diagnosis import ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cryptometrics.config.env_file import UnknownVariable
    from cryptometrics.doctor.diagnosis import Diagnosis


def check_configuration(unknown: Iterable[UnknownVariable], *, open_to_others: bool) -> Iterator[Diagnosis]:
    """Report variables that nothing reads; open_to_others: whether other users can read `.env`."""
    mistakes = [
        warning("settings", f"{each.name} ({each.where}) is not known", each.advice) for each in unknown
    ]
    yield from mistakes or [ok("settings", "all variables are known and valid")]
    if open_to_others:
        yield warning(".env", "other users of this machine can read it", "chmod 600 .env")
