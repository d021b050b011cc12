"""Run every SQL query of every panel, variable and annotation on the real schema with data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from cryptometrics.dashboards import build, market
from cryptometrics.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.config import Settings
    from tests.conftest import Cli
    from tests.integration.conftest import Store

RANGE = "now() - interval '1 day' AND now() + interval '1 day'"
_RISK = """
INSERT INTO crypto_risk (consumer_group, venue, pair, range, as_of, minutes, minutes_with_ticks, coverage,
                         gap_minutes, volatility, value_at_risk, expected_shortfall, drawdown, max_drawdown)
SELECT consumer_group, venue, pair, '24h', date_trunc('minute', now()), 1440, 1440, 1,
       0, 0.5, 0.01, 0.02, 0.03, 0.04
FROM pair_state
"""
_PORTFOLIO = """
INSERT INTO portfolio_risk (portfolio, version, consumer_group, as_of, venue, currency, value, value_at_mid,
    profit_and_loss, gross, net, value_at_risk, value_at_risk_pct, drawdown_pct, unmarked, positions, cash,
    limits)
SELECT 'treasury', 1, 'g1', date_trunc('minute', now()) - n * interval '1 minute', 'simulated', 'USD', 100,
    101, 7, 120, 90, 4, 3.5, 2, 0,
    '[{"asset": "BTC", "quantity": "2", "state": "quote",
    "bid": "50", "ask": "51", "value": "100", "share": 1}]',
    '[]', '[{"limit": "limit.gross", "value": 120, "limit_at": "100", "use": 1.2, "state": "breach"}]'
FROM generate_series(0, 4) AS n
"""
EMPTY_HERE = {"alerts in the time range, all venues and pairs"}
"""Panels that may show nothing of the data at hand."""


def queries() -> Iterator[tuple[str, str]]:
    """Yield (title, query) of all that Grafana would ask PostgreSQL."""
    for dashboard in build.dashboards().values():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield f"variable {variable['name']}", variable["query"]
        for annotation in dashboard["annotations"]["list"]:
            yield f"annotation {annotation['name']}", annotation["target"]["rawSql"]
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                if "rawSql" in target:
                    yield panel["title"], target["rawSql"]


def expanded(query: str, values: dict[str, list[str]]) -> str:
    """Return the query as Grafana sends it: its macros and variables replaced."""

    def variable(found: re.Match[str]) -> str:
        name, form = found[1], found[2]
        if form == "raw":
            return values[name][0]
        assert form == "sqlstring"
        return ",".join(sql.Literal(value).as_string(None) for value in values[name])

    query = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {RANGE}", query)
    query = re.sub(r"\$__interval_ms", "1000", query)
    query = re.sub(r"\$\{(\w+):(\w+)\}", variable, query)
    assert "$" not in query, query
    return query


def test_every_query_works_on_real_data(cli: Cli, connection: psycopg.Connection) -> None:
    cli("init-db")
    cli("simulate", "--rate", "0", "--count", "1500", "--bad", "0.02", "--seed", "3")
    cli("process", "--group", "g1", "--until-caught-up")
    connection.execute(_RISK)
    connection.execute(_PORTFOLIO)
    values: dict[str, list[str]] = {"window": ["crypto_windows"], "range": ["24h"]}
    asked = 0
    for title, query in queries():
        rows = connection.execute(expanded(query, values).encode()).fetchall()
        asked += 1
        if title.startswith("variable "):
            values[title.removeprefix("variable ")] = [row[0] for row in rows][:1]
        assert rows or title in EMPTY_HERE or title.startswith("annotation "), title
    assert asked > 15


def test_extremes_of_a_quote_that_came_late_are_shown(connection: psycopg.Connection, store: Store) -> None:
    start = "date_trunc('second', clock_timestamp()) - interval '1 hour'"
    store(
        f"""SELECT n, {start} + seconds * interval '1 s' AS at, bid, bid + 1 AS ask
        FROM (VALUES (0, 0, 100), (1, 20, 101), (2, 10, 300), (3, 30, 102), (4, 5, 50))
            AS quotes (n, seconds, bid)"""
    )
    values = {"group": ["g1"], "venue": ["coinbase"], "pair": ["BTC-USD"], "session": ["2024-01-05"]}
    prices = next(query for _, query in queries() if '"highest bid"' in query)

    def shown(query: str) -> list[tuple[int, int, int]]:
        found = connection.execute(expanded(query, values).encode()).fetchall()
        return [(int(row[1]), int(row[4]), int(row[5])) for row in found]

    every = [(100, 100, 101), (50, 100, 51), (300, 300, 51), (101, 300, 51), (102, 300, 51)]
    assert shown(prices) == every
    # Of a range that begins after both, and of one that ends before one of them.
    later = prices.replace("$__timeFilter(quoted_at)", "$__timeFilter(quoted_at) AND bid IN (101, 102)")
    assert shown(later) == every[3:]
    before = prices.replace("$__timeFilter(quoted_at)", "$__timeFilter(quoted_at) AND bid IN (50)")
    assert shown(before)[0][::2] == (50, 51)


def test_every_window_can_be_chosen(connection: psycopg.Connection) -> None:
    variables: list[Any] = market.build()["templating"]["list"]
    options = next(variable["options"] for variable in variables if variable["name"] == "window")
    assert len(options) == 6
    candles = next(query for title, query in queries() if "${window:raw}" in query)
    # A window of another name, as `aggregate` writes them, is no candle.
    connection.execute(
        "INSERT INTO crypto_windows (consumer_group, name, pair, window_start, window_end, ticks, open, high,"
        " low, close, highest_bid, lowest_ask, max_spread, late, spread_sum, spread_bps_sum, open_at,"
        " open_partition, open_offset, close_at, close_partition, close_offset) SELECT 'g1', 'mine',"
        " 'BTC-USD', at, at + interval '10 min', 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, at, 0, 0, at, 0, 0"
        " FROM now() AS at"
    )
    for option in options:
        values = {"window": [option["value"]], "group": ["g1"], "venue": ["coinbase"], "pair": ["BTC-USD"]}
        assert connection.execute(expanded(candles, values).encode()).fetchall() == []


def test_a_name_cannot_break_out_of_its_quotes(connection: psycopg.Connection) -> None:
    evil = ["x' OR true; DROP TABLE crypto_metrics; --"]
    values = dict.fromkeys(("group", "venue", "pair", "session", "range", "portfolio"), evil)
    values["window"] = ["crypto_windows"]
    for title, query in queries():
        if "sqlstring" in query:
            assert connection.execute(expanded(query, values).encode()).fetchall() == [], title


def test_every_column_of_the_views_is_explained_or_explains_itself(connection: psycopg.Connection) -> None:
    views = connection.execute(
        "SELECT oid, relname, obj_description(oid) FROM pg_class WHERE relkind = 'v' "
        "AND relname ~ '^crypto_(quotes|sessions|latest_quotes|latest_risk|progress|rejections)$'"
    ).fetchall()
    assert len(views) == 6
    plain = {
        "id",
        "bid",
        "ask",
        "topic",
        "metrics",
        "kafka_partition",
        "kafka_offset",
        "first_offset",
        "updated_at",
    }
    plain |= {
        "consumer_group",
        "pair",
        "recorded_at",
        "highest_bid",
        "lowest_ask",
        "lowest_ask_at",
        "max_spread",
    }
    plain |= {"max_spread_at"}
    for oid, name, comment in views:
        assert comment, name
        columns = connection.execute(
            "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
            "WHERE attrelid = %s AND attnum > 0",
            [oid],
        ).fetchall()
        assert [column for column, text in columns if not text and column not in plain] == [], name


def test_the_view_of_risk_has_the_newest_row_of_each_range(connection: psycopg.Connection) -> None:
    connection.execute(
        "INSERT INTO crypto_risk (consumer_group, venue, pair, range, as_of, minutes, minutes_with_ticks,"
        " coverage, gap_minutes, volatility) SELECT g, v, p, r, timestamptz '2026-07-01 12:00Z' + n *"
        " interval '1 min', 15, 15, 1, 0, n FROM unnest('{g1,g2}'::text[]) g, unnest('{coinbase,simulated}'"
        "::text[]) v, unnest('{BTC-USD,ETH-USD}'::text[]) p, unnest('{15m,1h,24h}'::text[]) r,"
        " generate_series(0, 9) n WHERE (v, p, r) <> ('simulated', 'ETH-USD', '1h')"
    )
    found = connection.execute(
        "SELECT consumer_group, venue, pair, range, volatility, age_seconds > 0 FROM crypto_latest_risk"
    ).fetchall()
    assert len(found) == len(set(found)) == 22
    assert {row[4] for row in found} == {9.0}


def test_the_views_can_be_read_by_the_role_for_reading(empty_database_settings: Settings) -> None:
    with psycopg.connect(empty_database_settings.postgres(), autocommit=True) as connection:
        connection.execute(
            "DO $$ BEGIN CREATE ROLE cryptometrics_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
        migrate(connection)
        connection.execute("SET ROLE cryptometrics_reader")
        for view in ("quotes", "sessions", "latest_quotes", "latest_risk", "progress", "rejections"):
            assert connection.execute(f"SELECT count(*) FROM crypto_{view}".encode()).fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM crypto_quotes")
