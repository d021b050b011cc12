"""Completion in the shell: which options have it, what it suggests, and that it is quick and silent."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import click
import pytest

from cryptometrics.cli import completion, cryptometrics
from cryptometrics.cli.commands import COMMANDS
from cryptometrics.store import connection_options

if TYPE_CHECKING:
    from collections.abc import Iterator

STORED = {
    "group": ["g1", "g2", "cryptometrics"],
    "pair": ["BTC-EUR", "BTC-USD", "ETH-USD"],
    "venue": ["coinbase", "simulated"],
}
NAMED = {"--group": "group", "--pair": "pair", "--venue": "venue"}
FREE = {("simulate", "--pair"), ("alerts", "silence", "--pair")}
"""A simulation may make any pair, and a silence takes a pattern."""


def options() -> Iterator[tuple[tuple[str, ...], click.Context, click.Option]]:
    """Yield the options that take a group, a pair or a venue, with the words that lead to them."""

    def below(
        command: click.Command, words: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, ...], click.Context, click.Option]]:
        if isinstance(command, click.Group):
            for name, each in command.commands.items():
                yield from below(each, (*words, name))
        for option in command.params:
            if isinstance(option, click.Option) and option.opts[0] in NAMED:
                yield (*words, option.opts[0]), click.Context(command), option

    for name in COMMANDS:
        command = cryptometrics.get_command(click.Context(cryptometrics), name)
        assert command is not None
        yield from below(command, (name,))


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "_stored", STORED.__getitem__)


@pytest.mark.usefixtures("stored")
def test_every_group_pair_and_venue_is_completed() -> None:
    found = list(options())
    assert len(found) > 30
    for words, context, option in found:
        if words not in FREE:
            suggested = [item.value for item in option.shell_complete(context, "")]
            assert suggested == STORED[NAMED[option.opts[0]]], words


@pytest.mark.usefixtures("stored")
def test_the_group_to_delete_is_completed() -> None:
    command = cryptometrics.get_command(click.Context(cryptometrics), "groups")
    assert isinstance(command, click.Group)
    [name] = [part for part in command.commands["delete"].params if isinstance(part, click.Argument)]
    suggested = name.shell_complete(click.Context(command.commands["delete"]), "g")
    assert [item.value for item in suggested] == ["g1", "g2"]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("BTC-U", ["BTC-USD"]),
        ("btc", ["BTC-EUR", "BTC-USD"]),
        ("eth/", ["ETH-USD"]),
        ("BTC-USD,e", ["BTC-USD,ETH-USD"]),
        ("NO", []),
    ],
)
def test_pairs_are_completed_as_they_may_be_typed(typed: str, suggested: list[str]) -> None:
    for words, context, option in options():
        if words == ("session", "--pair"):
            assert [item.value for item in option.shell_complete(context, typed)] == suggested


def groups() -> list[str]:
    return completion.groups(click.Context(cryptometrics), click.Option(["--group"]), "")


def test_a_database_that_does_not_answer_costs_a_second(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DATABASE_URL", f"postgresql://127.0.0.1:{silent.getsockname()[1]}/x")
        began = time.monotonic()
        assert groups() == []
        assert completion.LIMIT_S * 0.9 < time.monotonic() - began < connection_options.CONNECT_TIMEOUT_S
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("address", ["postgresql://127.0.0.1:1/x", "no address", "postgresql://no.invalid/x"])
def test_what_is_wrong_with_the_database_is_not_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], address: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    assert groups() == []
    assert capfd.readouterr() == ("", "")
