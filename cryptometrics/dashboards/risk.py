"""The dashboard *Risk*: how much a venue's pairs could lose, as `risk --follow` has stored it."""

from __future__ import annotations

from cryptometrics.dashboards.parts import (
    Json,
    annotation,
    dashboard,
    field,
    fixed_variable,
    override,
    panel,
    query_variable,
    sql,
)
from cryptometrics.market.venues import SIMULATED, replayed

GROUP = query_variable(
    "group",
    "group",
    "SELECT consumer_group FROM crypto_latest_risk GROUP BY consumer_group ORDER BY max(as_of) DESC",
)
# Grafana shows __text and inserts __value: people must see that prices are simulated.
VENUE = query_variable(
    "venue",
    "venue",
    f"""SELECT venue AS __value,
    CASE WHEN venue = '{SIMULATED}' OR starts_with(venue, '{replayed(SIMULATED)}')
    THEN overlay(venue PLACING '{SIMULATED.upper()}' FROM 1) ELSE venue END AS __text
    FROM crypto_latest_risk WHERE consumer_group = ${{group:sqlstring}}
    GROUP BY venue ORDER BY max(as_of) DESC""",  # noqa: S608
)
RANGE = fixed_variable("range", "range", {name: name for name in ("24h", "1h", "15m")})

_MARKET = "consumer_group = ${group:sqlstring} AND venue = ${venue:sqlstring}"
_BUCKET = "date_bin(make_interval(secs => greatest($__interval_ms, 60000) / 1000.0), as_of, 'epoch')"

ALERTS = annotation(
    "alerts",
    f"""SELECT fired_at AS time, resolved_at AS timeend, pair || ' ' || rule || ': ' || message AS text,
    severity AS tags FROM alerts WHERE $__timeFilter(fired_at) AND {_MARKET}
    AND kind IN ('volatility_pct', 'drawdown_pct', 'value_at_risk_pct', 'expected_shortfall_pct')
    ORDER BY fired_at""",  # noqa: S608
    "red",
)


def _chart(title: str, figure: str, about: str, *, of_range: str = "${range:sqlstring}") -> Json:
    """Return a chart with a line per pair of one figure, the largest of each interval: no peak is lost."""
    worst = "min" if figure == "coverage" else "max"
    query = f"""SELECT {_BUCKET} AS "time", pair AS metric, {worst}({figure}) AS value FROM crypto_risk
        WHERE $__timeFilter(as_of) AND {_MARKET} AND range = {of_range} GROUP BY 1, 2 ORDER BY 1"""  # noqa: S608
    return panel(
        "timeseries",
        f"${{venue:text}}: {title}",
        [sql(query, "time_series")],
        (12, 8),
        about,
        fieldConfig=field(unit="percentunit", lineWidth=1, fillOpacity=0, spanNulls=False),
        options={"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    )


def build() -> Json:
    """Return the dashboard."""
    volatility = _chart(
        "volatility, annualised",
        "volatility",
        "Realized volatility over the range; the largest of each interval.",
    )
    drawdown = _chart(
        "drawdown",
        "drawdown",
        "How far the close is below the highest mid price of the range; the largest of each interval.",
    )
    value_at_risk = _chart(
        "value at risk, 24h",
        "value_at_risk",
        "Loss over one hour that is exceeded with a probability of 1 %. Shorter ranges have too few returns.",
        of_range="'24h'",
    )
    shortfall = _chart(
        "expected shortfall, 24h",
        "expected_shortfall",
        "Mean loss over one hour beyond the value at risk.",
        of_range="'24h'",
    )
    coverage = _chart(
        "coverage",
        "coverage",
        "Share of the known minutes of the range; the least of each interval. Below 80 % figures are thin.",
    )
    largest = _chart(
        "maximal drawdown",
        "max_drawdown",
        "The largest fall of the mid price from its highest value before, within the range.",
    )
    latest = panel(
        "table",
        "newest figures of every venue and pair",
        [
            sql(
                """SELECT venue, pair, as_of, volatility, volatility_ewma, value_at_risk, expected_shortfall,
                drawdown, max_drawdown, coverage, gap_minutes, age_seconds FROM crypto_latest_risk
                WHERE consumer_group = ${group:sqlstring} AND range = ${range:sqlstring}
                ORDER BY volatility DESC NULLS LAST, pair, venue"""
            )
        ],
        (24, 9),
        "The most volatile first. An empty cell cannot be known. docs/risk.md explains each figure.",
        fieldConfig=field(
            unit="percentunit",
            decimals=2,
            overrides=[
                override("gap_minutes", unit="short", decimals=0),
                override("age_seconds", unit="s", decimals=0),
            ],
        ),
    )
    return dashboard(
        "cryptometrics-risk",
        "Risk",
        rows=[[volatility, drawdown], [value_at_risk, shortfall], [largest, coverage], [latest]],
        variables=[GROUP, VENUE, RANGE],
        annotations=[ALERTS],
        refresh="30s",
        since="now-6h",
    )
