"""The tables of channels in a rule file, and which channels an alert goes to."""

from __future__ import annotations

import pytest

from cryptometrics.alerts.channels import NOBODY, Channel, Recipients, parse

SECRET = "T0PS3CRET"
DESK = f'[[channel]]\nname = "desk"\nurl = "json://{SECRET}"\n'


def test_a_channel_has_its_defaults() -> None:
    (channel,), problems = parse(DESK)
    assert problems == []
    assert (channel.name, channel.source, channel.min_severity, channel.pairs) == (
        "desk",
        "url",
        "info",
        ("*",),
    )
    assert channel.line == 3
    assert SECRET not in repr(channel)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[[channel]]\nurl = "json://a"', (1, "name")),
        ('[[channel]]\nname = "a b"\nurl = "json://a"', (2, "name")),
        ('[[channel]]\nname = "webhook"\nurl = "json://a"', (2, "name")),
        (DESK + DESK, (5, "name")),
        ('[[channel]]\nname = "a"', (1, "url")),
        ('[[channel]]\nname = "a"\nurl = 5', (3, "url")),
        ('[[channel]]\nname = "a"\nurl_env = ""', (3, "url_env")),
        (DESK + 'url_env = "A"', (4, "url_env")),
        (DESK + 'url_file = "A"', (4, "url_file")),
        ('[[channel]]\nname = 5\nurl = "json://a"', (2, "name")),
        (DESK + 'min_severity = "high"', (4, "min_severity")),
        (DESK + 'pairs = [""]', (4, "pairs")),
        (DESK + f'pairs = ["*", "{"A" * 101}"]', (4, "pairs")),
        (DESK + "pairs = 1", (4, "pairs")),
        (DESK + "min_severity = []", (4, "min_severity")),
        (DESK + "pairs = []", (4, "pairs")),
        (DESK + "pairs = [1]", (4, "pairs")),
        (DESK + 'colour = "red"', (4, "colour")),
        ("[channel]\nname = 1", (1, "channel")),
        ('[[rule]]\nname = "x"\n' + DESK + 'colour = "red"', (6, "colour")),
    ],
)
def test_a_problem_has_its_line_and_key_and_no_secret(text: str, place: tuple[int, str]) -> None:
    _, problems = parse(text)
    assert [(problem.line, problem.key) for problem in problems] == [place]
    assert SECRET not in str(problems)


def test_a_pattern_of_pairs_has_one_to_a_hundred_characters() -> None:
    for pattern in ("A", "A" * 100):
        (channel,), problems = parse(f'{DESK}pairs = "{pattern}"')
        assert (channel.pairs, problems) == ((pattern,), [])


def test_of_several_addresses_the_first_counts_and_the_others_are_problems() -> None:
    _, problems = parse('[[channel]]\nname = "a"\nurl_file = "f"\nurl_env = 5\nurl = 6')
    assert [(problem.line, problem.key, problem.what) for problem in problems] == [
        (4, "url_env", "the channel has url already: leave one out"),
        (3, "url_file", "the channel has url already: leave one out"),
        (5, "url", "must be a text in quotes"),
    ]


def test_text_that_is_not_toml_has_no_channels() -> None:
    assert parse(DESK + "[[") == ((), [])


def test_there_are_at_most_twenty_channels() -> None:
    tables = [DESK.replace("desk", f"desk{number}") for number in range(21)]
    assert parse("".join(tables[:20]))[1] == []
    (problem,) = parse("".join(tables))[1]
    assert problem.line == 61


def test_a_channel_is_the_same_wherever_it_is_in_the_file() -> None:
    (one,), (other,) = parse(DESK)[0], parse("\n\n" + DESK)[0]
    assert (one, one.line, other.line) == (other, 3, 5)
    assert Channel("desk", "url", "json://").line == 1


def test_severity_and_pair_decide_who_is_told() -> None:
    channels, _ = parse(
        DESK
        + '[[channel]]\nname = "grave"\nurl = "json://a"\nmin_severity = "critical"\n'
        + '[[channel]]\nname = "btc"\nurl = "json://a"\npairs = ["btc-*", "Treasury"]\n'
    )
    assert (NOBODY.names, NOBODY.of("critical", "BTC-USD")) == ([], [])
    assert Recipients(channels=channels).of("info", "ETH-USD") == ["desk"]
    recipients = Recipients(webhook=True, channels=channels)
    assert recipients.names == ["webhook", "desk", "grave", "btc"]
    assert recipients.of("info", "ETH-USD") == ["webhook", "desk"]
    assert recipients.of("critical", "BTC-USD") == ["webhook", "desk", "grave", "btc"]
    assert recipients.of("warning", "treasury") == ["webhook", "desk", "btc"]
