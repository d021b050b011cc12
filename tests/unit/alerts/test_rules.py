"""The file of rules: what it may say, and that what is wrong is named by line and key."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.alerts.kinds import KINDS, owner_of
from cryptometrics.alerts.rules import example, named_pairs, named_venues, parse
from cryptometrics.alerts.toml_lines import RulesError
from cryptometrics.market.venues import Market

SPREAD = '[[rule]]\nname = "wide"\nkind = "spread_bps"\nlevel = 25\n'


def problems(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(RulesError) as error:
        parse(text)
    return [(problem.line, problem.key, problem.what) for problem in error.value.problems]


def test_a_rule_has_defaults() -> None:
    (rule,) = parse(SPREAD)
    assert (rule.level, rule.resolve_below, rule.hold) == (Decimal(25), Decimal(25), timedelta())
    assert (rule.cooldown, rule.severity, rule.pairs) == (timedelta(minutes=1), "warning", ("*",))
    assert (rule.venues, rule.within, rule.ticks) == (("*",), timedelta(), 20)
    assert (rule.range, rule.estimator, rule.min_coverage) == ("", "", Decimal("0.8"))
    assert parse('[[rule]]\nname = "g"\nkind = "gap"\n')[0].level == 0


def test_the_example_is_valid_and_shows_every_kind() -> None:
    rules = parse(example())
    assert {rule.kind for rule in rules} == set(KINDS)
    assert [rule.owner for rule in rules] == [owner_of(rule.kind) for rule in rules]


def test_numbers_are_exact() -> None:
    (rule,) = parse(SPREAD.replace("25", "0.1"))
    assert rule.level == Decimal("0.1")


def test_pairs_are_patterns() -> None:
    (rule,) = parse(SPREAD + 'pairs = ["BTC-*", "ETH-USD", "[AB]?A-EUR"]\n')
    assert [
        rule.covers(Market("any", pair)) for pair in ("BTC-USD", "ETH-USD", "ADA-EUR", "ETH-EUR", "XBTC-USD")
    ] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert named_pairs(rule) == {"ETH-USD"}


def test_venues_are_patterns() -> None:
    (rule,) = parse(SPREAD + 'venues = ["coinbase", "*-replay"]\n')
    venues = ("coinbase", "coinbase-replay", "coinbase-advanced", "simulated")
    assert [rule.covers(Market(venue, "BTC-USD")) for venue in venues] == [True, True, False, False]
    assert named_venues(rule) == {"coinbase"}
    (rule,) = parse(SPREAD)
    assert rule.covers(Market("simulated", "BTC-USD"))
    assert named_venues(rule) == set()


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("level = '25'", "level"),
        ("level = true", "level"),
        ("level = -1", "level"),
        ("level = nan", "level"),
        ("level = inf", "level"),
        ("level = 1e12", "level"),
        ("level = 0.0000000001", "level"),
        ("resolve_below = 26", "resolve_below"),
        ("for = 10", "for"),
        ('for = "10"', "for"),
        ('for = "8d"', "for"),
        ('for = "99999999999d"', "for"),
        ('cooldown = "soon"', "cooldown"),
        ('severity = "high"', "severity"),
        ("severity = 1", "severity"),
        ("pairs = []", "pairs"),
        ('pairs = ["btc-usd"]', "pairs"),
        ('pairs = ["BTCUSD"]', "pairs"),
        ("pairs = [1]", "pairs"),
        ("pairs = 1", "pairs"),
        ("venues = []", "venues"),
        ("venues = 1", "venues"),
        ("venues = [1]", "venues"),
        ('venues = ["Coinbase"]', "venues"),
        ('within = "1m"', "within"),
        ("ticks = 3", "ticks"),
        ("levels = 3", "levels"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_key(line: str, key: str) -> None:
    text = SPREAD.replace("level = 25\n", "") if key == "level" else SPREAD
    text = "# a comment\n\n" + text + line + "\n"
    number = text.splitlines().index(line) + 1
    assert [problem[:2] for problem in problems(text)] == [(number, key)]


@pytest.mark.parametrize("end", ["\x85", "\u2028", "\u2029"])
def test_only_line_ends_of_toml_end_a_line(end: str) -> None:
    assert [(line, key) for line, key, _ in problems(f"# one{end}line\n{SPREAD}pairs = 3\n")] == [
        (6, "pairs")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (1, "")),
        ("level = 25\n", (1, "level")),
        ("\n\nlevel = 25\n", (3, "level")),
        ('\n"a b" = 1\n', (1, "a b")),
        ('\n\nrule = [{kind = "gap"}]\n', (3, "name")),
        ("\n[rule]\nlevel = 1\n", (2, "rule")),
        ("rule = 3\n", (1, "rule")),
        ('level = "a', (1, "level")),
        ('\n\nlevel = """a\n', (3, "level")),
        (SPREAD + 'severity = "info', (5, "severity")),
        ("[[rule]]\nlevel = = 3\n", (2, "level")),
        ('[[rule]]\nname = "a\nkind = 3\n', (2, "name")),
        ('[[rule]]\nname = "a"\n', (1, "kind")),
        ('\n[[rule]]\nkind = "spread_bps"\nlevel = 1', (2, "name")),
        ('[[rule]]\nname = "a b"\nkind = "gap"\n', (2, "name")),
        ('[[rule]]\nname = "a"\nkind = "spread"\n', (3, "kind")),
        ('[[rule]]\nname = "a"\nkind = "stale"\n', (1, "for")),
        ('[[rule]]\nname = "a"\nkind = "stale"\nfor = "0s"\n', (4, "for")),
        ('[[rule]]\nname = "a"\nkind = "mid_move_pct"\nlevel = 1\n', (1, "within")),
        (
            '[[rule]]\nname = "a"\nkind = "rejected_pct"\nlevel = 1\nwithin = "1m"\npairs = ["*"]\n',
            (6, "pairs"),
        ),
        (SPREAD + "\n" + SPREAD, (7, "name")),
        (SPREAD + "\n[webhook]\n", (6, "webhook")),
    ],
)
def test_a_file_that_is_no_file_of_rules(text: str, expected: tuple[int, str]) -> None:
    assert expected in [problem[:2] for problem in problems(text)]


REJECTED = '[[rule]]\nname = "bad"\nkind = "rejected_pct"\nlevel = 5\nwithin = "1m"\n'
VOLATILE = '[[rule]]\nname = "v"\nkind = "volatility_pct"\nlevel = 5\n'
STALE = '[[rule]]\nname = "s"\nkind = "stale"\n'


@pytest.mark.parametrize(
    ("text", "allowed", "refused", "key"),
    [
        (SPREAD, 'for = "7d"', 'for = "604801s"', "for"),
        (SPREAD, 'for = "0s"', 'for = "-1s"', "for"),
        (SPREAD, f'pairs = ["{"A" * 40}*"]', f'pairs = ["{"A" * 41}*"]', "pairs"),
        (SPREAD, f'venues = ["{"a" * 32}"]', f'venues = ["{"a" * 33}"]', "venues"),
        (SPREAD, "resolve_below = 25", "resolve_below = 25.1", "resolve_below"),
        (SPREAD, "resolve_below = 0", "resolve_below = -0.1", "resolve_below"),
        (SPREAD, "resolve_below = 0.123456789", "resolve_below = 0.1234567891", "resolve_below"),
        (SPREAD.replace("25", "1"), "resolve_below = 1", "resolve_below = 1.1",
         "resolve_below"),
        (SPREAD.replace("level = 25", ""), "level = 999999999", "level = 1000000000", "level"),
        (REJECTED, "ticks = 1", "ticks = 0", "ticks"),
        (REJECTED, "ticks = 1000000000", "ticks = 1000000001", "ticks"),
        (REJECTED, "ticks = 2", "ticks = true", "ticks"),
        (REJECTED.replace('within = "1m"\n', ""), 'within = "1s"', 'within = "0s"', "within"),
        (REJECTED.replace('within = "1m"\n', ""), 'within = "1s"', 'within = "soon"', "within"),
        (STALE, 'for = "1s"', 'for = "soon"', "for"),
        (VOLATILE, "min_coverage = 1", "min_coverage = 1.01", "min_coverage"),
        (VOLATILE, "min_coverage = 0", "min_coverage = -0.01", "min_coverage"),
        (VOLATILE, 'range = "15m"', 'range = "16m"', "range"),
        (VOLATILE, 'estimator = "ewma"', 'estimator = "close"', "estimator"),
        (STALE, 'for = "1s"', 'for = "0s"', "for"),
    ],
)  # fmt: skip
def test_each_limit_is_allowed_and_what_is_beyond_it_is_not(
    text: str, allowed: str, refused: str, key: str
) -> None:
    assert len(parse(text + allowed)) == 1
    assert [problem[1] for problem in problems(text + refused)] == [key]


def test_a_key_that_does_not_belong_is_told_with_the_keys_that_do() -> None:
    of_gap = '[[rule]]\nname = "g"\nkind = "gap"\n'
    of_any = (
        "cooldown, estimator, for, kind, level, min_coverage, name, pairs, range, resolve_below, severity"
    )
    assert problems(of_gap + 'within = "1m"\nlevels = 3\n') == [
        (4, "within", "is not a key of the kind gap, which has pairs, venues, level"),
        (5, "levels", f"is not a key of a rule: the keys are {of_any}, ticks, venues, within"),
    ]


def test_names_have_at_most_sixty_three_characters_and_files_two_hundred_rules() -> None:
    longest = "a" * 63
    assert parse(SPREAD.replace("wide", longest))[0].name == longest
    assert [problem[:2] for problem in problems(SPREAD.replace("wide", longest + "a"))] == [(2, "name")]
    rules = [SPREAD.replace("wide", f"wide{number}") for number in range(201)]
    assert len(parse("".join(rules[:200]))) == 200
    assert len(problems("".join(rules))) == 1


def test_a_rule_about_a_figure_has_its_defaults() -> None:
    (rule,) = parse(VOLATILE)
    assert (rule.min_coverage, rule.range, rule.estimator, rule.figure) == (
        *(Decimal("0.8"), "24h", "realized", "volatility"),
    )
    (rule,) = parse(VOLATILE + 'estimator = "ewma"\nrange = "1h"')
    assert (rule.range, rule.figure) == ("1h", "volatility_ewma")
    (rule,) = parse(REJECTED)
    assert (rule.ticks, rule.pairs, rule.venues, rule.within) == (20, (), (), timedelta(minutes=1))


def test_all_problems_are_told_in_the_order_of_the_file() -> None:
    text = SPREAD.replace("25", '"x"') + SPREAD.replace("spread_bps", "spreads") + "for = 3\n"
    assert [problem[:2] for problem in problems(text)] == [(4, "level"), (6, "name"), (7, "kind"), (9, "for")]


@given(st.text(max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    with pytest.raises(RulesError):
        parse(text)
    with pytest.raises(RulesError):
        parse(SPREAD + "pairs = " + text + "\nfoo = 1")
