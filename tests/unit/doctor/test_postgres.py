"""What `doctor` makes of the facts about a PostgreSQL server."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cryptometrics.doctor.diagnosis import State
from cryptometrics.doctor.postgres import check_facts, clock, pooler
from cryptometrics.store.roles import ROLES
from cryptometrics.store.server_facts import ServerFacts

SOUND = ServerFacts(
    version="18.0",
    version_number=180_000,
    is_standby=False,
    fsync=True,
    full_page_writes=True,
    synchronous_commit="on",
    max_connections=100,
    reserved_connections=3,
    used_connections=10,
    encoding="UTF8",
    process=17,
    login=ROLES[1],
    is_superuser=False,
    encrypted=True,
    remote=True,
    roles=list(ROLES),
    can_read=True,
    can_write=True,
)


def states(**changed: Any) -> dict[str, State]:
    found = list(check_facts(dataclasses.replace(SOUND, **changed), local=False))
    assert all((each.fix is None) == (each.state is State.OK) for each in found)
    return {each.check: each.state for each in found if each.state is not State.OK}


def test_a_sound_server_has_no_findings() -> None:
    assert states() == {}


@pytest.mark.parametrize(
    ("fact", "value", "check", "state"),
    [
        ("version_number", 130_012, "postgres version", State.WRONG),
        ("is_standby", True, "postgres version", State.WARNING),
        ("fsync", False, "fsync", State.WRONG),
        ("full_page_writes", False, "fsync", State.WRONG),
        ("synchronous_commit", "off", "synchronous_commit", State.WARNING),
        ("used_connections", 95, "max_connections", State.WARNING),
        ("encoding", "LATIN1", "encoding", State.WARNING),
        ("encrypted", False, "postgres tls", State.WARNING),
        ("roles", [ROLES[0]], "roles", State.WARNING),
        ("is_superuser", True, "roles", State.WARNING),
        ("can_read", False, "rights", State.WRONG),
        ("can_read", None, "rights", State.WRONG),
    ],
)
def test_a_fact_that_needs_a_fix(fact: str, value: object, check: str, state: State) -> None:
    assert states(**{fact: value}) == {check: state}


def test_plain_text_on_this_machine_is_sound() -> None:
    assert states(encrypted=False, remote=False) == {}


@pytest.mark.parametrize(
    ("skew", "state"), [(0.4, State.OK), (-0.4, State.OK), (-2.0, State.WARNING), (61.0, State.WRONG)]
)
def test_the_clock_of_the_server(skew: float, state: State) -> None:
    assert clock(skew).state is state


def test_a_pooler_names_another_process_at_the_login() -> None:
    assert "none" in pooler(SOUND, 17).found
    assert "session mode" in pooler(SOUND, 18).found
