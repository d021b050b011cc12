"""The dashboard *Portfolio*: value, risk and limits of what is held, as `risk --follow` has stored them."""

from __future__ import annotations

from cryptometrics.dashboards.parts import (
    Json,
    annotation,
    dashboard,
    field,
    override,
    panel,
    query_variable,
    sql,
)
from cryptometrics.market.venues import SIMULATED, replayed

PORTFOLIO = query_variable(
    "portfolio",
    "portfolio",
    "SELECT portfolio FROM crypto_latest_portfolio_risk ORDER BY as_of DESC, portfolio",
)
# In the titles: people must see that prices are simulated, and in which currency money is.
SOURCE = query_variable(
    "source",
    "venue and currency",
    f"""SELECT CASE WHEN venue = '{SIMULATED}' OR starts_with(venue, '{replayed(SIMULATED)}')
    THEN overlay(venue PLACING '{SIMULATED.upper()}' FROM 1) ELSE venue END || ', ' || currency
    FROM crypto_latest_portfolio_risk WHERE portfolio = ${{portfolio:sqlstring}}""",  # noqa: S608
)

_NEWEST = "FROM crypto_latest_portfolio_risk WHERE portfolio = ${portfolio:sqlstring}"
# Versions may be of other venues or currencies, which one line must not join.
_ROWS = f"""FROM portfolio_risk WHERE $__timeFilter(as_of) AND portfolio = ${{portfolio:sqlstring}}
    AND (consumer_group, venue, currency) = (SELECT consumer_group, venue, currency {_NEWEST})"""
_BUCKET = "date_bin(make_interval(secs => greatest($__interval_ms, 60000) / 1000.0), as_of, 'epoch')"

BREACHES = annotation(
    "limits",
    """SELECT fired_at AS time, resolved_at AS timeend, rule || ': ' || message AS text, severity AS tags
    FROM alerts WHERE $__timeFilter(fired_at) AND pair = ${portfolio:sqlstring}
    AND starts_with(rule, 'limit.') ORDER BY fired_at""",
    "red",
)


def _last(column: str) -> str:
    """Return the expression of the last value of an interval; unknown if that one is."""
    return f"(array_agg({column} ORDER BY as_of DESC))[1]"


def _chart(title: str, columns: str, about: str, *, unit: str = "short") -> Json:
    """Return a chart of columns over time."""
    query = f'SELECT {_BUCKET} AS "time", {columns} {_ROWS} GROUP BY 1 ORDER BY 1'
    return panel(
        "timeseries",
        f"${{source:text}}: {title}",
        [sql(query, "time_series")],
        (12, 8),
        about,
        fieldConfig=field(unit=unit, lineWidth=1, fillOpacity=0, spanNulls=False),
        options={"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    )


def build() -> Json:
    """Return the dashboard."""
    value = _chart(
        "value",
        f'{_last("value")}::float8 AS "at the mark", {_last("value_at_mid")}::float8 AS "at mid"',
        "Positions long at the bid and short at the ask, and at mid; with cash. The last of each interval.",
    )
    gain = _chart(
        "profit and loss, less value at risk",
        f'{_last("profit_and_loss")}::float8 AS "profit and loss",'
        f' {_last("profit_and_loss::float8 - value_at_risk")} AS "less value at risk",'
        f' {_last("profit_and_loss_today")}::float8 AS "since 00:00 UTC"',
        "Against cost, of the positions that have one, and after a loss of the value at risk.",
    )
    at_risk = _chart(
        "value at risk and expected shortfall, % of gross",
        'max(value_at_risk_pct) AS "value at risk", max(expected_shortfall_pct) AS "expected shortfall"',
        "With the confidence and horizon of the portfolio; the largest of each interval.",
        unit="percent",
    )
    drawdown = _chart(
        "drawdown, % of gross",
        'max(drawdown_pct) AS "drawdown"',
        "How far cumulative profit and loss is below its peak within the range; largest of each interval.",
        unit="percent",
    )
    exposure = _chart(
        "gross and net",
        f'max(gross)::float8 AS "gross", {_last("net")}::float8 AS "net"',
        "Sums of the positions at mid; a position without a current price makes both unknown.",
    )
    use = panel(
        "timeseries",
        "${source:text}: use of the limits",
        [
            sql(
                f"""SELECT {_BUCKET} AS "time", replace(each->>'limit', 'limit.', '') AS metric,
                max((each->>'use')::float8) AS value
                FROM (SELECT as_of, jsonb_array_elements(limits) AS each {_ROWS}) AS limits
                GROUP BY 1, 2 ORDER BY 1""",  # noqa: S608
                "time_series",
            )
        ],
        (12, 8),
        "Figure divided by limit: at 100 % it is breached. The largest of each interval; none while unknown.",
        fieldConfig=field(unit="percentunit", lineWidth=1, fillOpacity=0, spanNulls=False),
        options={"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    )
    limits = panel(
        "table",
        "limits now",
        [
            sql(
                f"""SELECT replace(each->>'limit', 'limit.', '') AS "limit", each->>'state' AS state,
                (each->>'use')::float8 AS use, (each->>'value')::float8 AS value,
                (each->>'limit_at')::float8 AS limit_at
                FROM (SELECT jsonb_array_elements(limits) AS each {_NEWEST}) AS limits
                ORDER BY use DESC NULLS FIRST"""  # noqa: S608
            )
        ],
        (10, 8),
        "Of the newest row. Unknown: a figure that the limit depends on cannot be known.",
        fieldConfig=field(overrides=[override("use", unit="percentunit", decimals=0)]),
    )
    positions = panel(
        "table",
        "positions now",
        [
            sql(
                f"""SELECT each->>'asset' AS asset, (each->>'quantity')::float8 AS quantity,
                each->>'state' AS mark, (each->>'bid')::float8 AS bid, (each->>'ask')::float8 AS ask,
                (each->>'value')::float8 AS value, (each->>'share')::float8 AS share,
                (each->>'profit_and_loss')::float8 AS "profit and loss",
                (each->>'component_value_at_risk')::float8 AS "component of value at risk"
                FROM (SELECT jsonb_array_elements(positions) AS each {_NEWEST}) AS held
                ORDER BY abs((each->>'value')::float8) DESC NULLS FIRST"""  # noqa: S608
            )
        ],
        (14, 8),
        "Of the newest row, with the quote that marked each. `cryptometrics portfolio` is exact.",
        fieldConfig=field(overrides=[override("share", unit="percentunit", decimals=1)]),
    )
    every = panel(
        "table",
        "newest figures of every portfolio",
        [
            sql(
                """SELECT portfolio, venue, currency, as_of, value::float8 AS value,
                profit_and_loss::float8 AS "profit and loss", gross::float8 AS gross, value_at_risk,
                value_at_risk_pct, drawdown_pct, unmarked,
                (SELECT string_agg(replace(each->>'limit', 'limit.', ''), ', ')
                 FROM jsonb_array_elements(limits) AS each WHERE each->>'state' = 'breach') AS breached,
                age_seconds FROM crypto_latest_portfolio_risk ORDER BY portfolio"""
            )
        ],
        (24, 8),
        "Per cent is of gross. An empty cell cannot be known. docs/portfolio.md explains each figure.",
        fieldConfig=field(
            overrides=[
                override("value_at_risk_pct", unit="percent", decimals=2),
                override("drawdown_pct", unit="percent", decimals=2),
                override("age_seconds", unit="s", decimals=0),
            ]
        ),
    )
    return dashboard(
        "cryptometrics-portfolio",
        "Portfolio",
        rows=[[value, gain], [at_risk, drawdown], [exposure, use], [limits, positions], [every]],
        variables=[PORTFOLIO, SOURCE],
        annotations=[BREACHES],
        refresh="30s",
        since="now-6h",
    )
