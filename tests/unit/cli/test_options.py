"""Options that several commands share: what is accepted, and in which form it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.cli import cryptometrics, options, risk_options
from cryptometrics.market.ticks import parse_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

codes = st.from_regex(r"[A-Z0-9]{1,20}", fullmatch=True)


@given(
    st.lists(st.tuples(codes, codes), min_size=1, max_size=5),
    st.sampled_from("-/"),
    st.sampled_from([str.upper, str.lower, str.title]),
    st.sampled_from([",", ", "]),
)
def test_a_pair_may_be_written_in_any_common_form(
    named: list[tuple[str, str]], dash: str, spelling: Callable[[str], str], comma: str
) -> None:
    text = comma.join(spelling(base) + dash + spelling(quote) for base, quote in named)
    assert parse_pairs(text) == [f"{base}-{quote}" for base, quote in named]


@pytest.mark.parametrize("text", ["", "BTCUSD", "BTC-USD,", ",", "BTC-USD-EUR", "BTC//USD", "ß-USD", "a b-c"])
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="is not a pair: pairs look like BTC-USD"):
        parse_pairs(text)


def test_the_option_takes_lists_and_repetitions_together() -> None:
    @click.command()
    @options.pairs
    def command(pairs: tuple[str, ...]) -> None:
        click.echo(" ".join(pairs))

    result = CliRunner().invoke(
        command, ["--pair", "btc-usd,ETH/USD", "--pair", "BTC-USD", "--pair", "sol-usd"]
    )
    assert result.output == "BTC-USD ETH-USD SOL-USD\n"
    refused = CliRunner().invoke(command, ["--pair", "btc-usd,BTCUSD"])
    assert refused.exit_code == 2
    assert "'BTCUSD' is not a pair" in refused.output


def test_every_command_with_pairs_has_this_option() -> None:
    """Only then each of them accepts the same forms, several pairs or one."""
    shared = next(each for each in _option_command().params if each.name == "pairs")
    with click.Context(cryptometrics) as context:
        commands = [cryptometrics.get_command(context, name) for name in cryptometrics.list_commands(context)]
    found = {
        (command.name, option.callback)
        for command in commands
        if command is not None
        for option in command.params
        if "pair" in str(option.name)
    }
    assert {callback for _, callback in found} == {shared.callback, risk_options.pair}
    assert len(found) > 5


def _option_command() -> click.Command:
    return click.command()(options.pairs(lambda pairs: None))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("simulat", "No such command 'simulat'. Did you mean 'simulate'?"),
        ("export-all", "Did you mean 'export'?"),
        ("xyzzy", "No such command 'xyzzy'."),
    ],
)
def test_a_command_that_is_spelled_alike_is_suggested(typed: str, said: str) -> None:
    result = CliRunner().invoke(cryptometrics, [typed])
    assert result.exit_code == 2
    assert said in result.output
