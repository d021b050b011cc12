"""The dashboard *Market*: quotes, spreads and candles of a venue's pair, and the alerts."""

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
    "SELECT consumer_group FROM crypto_sessions GROUP BY consumer_group ORDER BY max(last_at) DESC",
)
# Grafana shows __text and inserts __value: people must see that prices are simulated.
VENUE = query_variable(
    "venue",
    "venue",
    f"""SELECT venue AS __value,
    CASE WHEN venue = '{SIMULATED}' OR starts_with(venue, '{replayed(SIMULATED)}')
    THEN overlay(venue PLACING '{SIMULATED.upper()}' FROM 1) ELSE venue END AS __text
    FROM crypto_latest_quotes WHERE consumer_group = ${{group:sqlstring}}
    GROUP BY venue ORDER BY max(quoted_at) DESC""",  # noqa: S608
)
PAIR = query_variable(
    "pair",
    "pair",
    """SELECT pair FROM crypto_latest_quotes WHERE consumer_group = ${group:sqlstring}
    AND venue = ${venue:sqlstring} ORDER BY pair""",
)
SESSION = query_variable(
    "session",
    "session",
    """SELECT session FROM crypto_sessions WHERE consumer_group = ${group:sqlstring}
    AND venue = ${venue:sqlstring} AND pair = ${pair:sqlstring} ORDER BY last_at DESC""",
    everything=True,
)
WINDOW = fixed_variable(
    "window",
    "candle",
    {"1m": "crypto_windows"} | {size: f"crypto_windows_{size}" for size in ("5m", "15m", "1h", "4h", "1d")},
)

_PAIR = "consumer_group = ${group:sqlstring} AND venue = ${venue:sqlstring} AND pair = ${pair:sqlstring}"
_QUOTES = f"$__timeFilter(quoted_at) AND {_PAIR} AND session IN (${{session:sqlstring}})"
_BUCKET = "date_bin(make_interval(secs => $__interval_ms / 1000.0), quoted_at, 'epoch')"
# Arrays compare element by element, so the greatest one has the values of the bucket's newest quote. A quote
# has its session's extremes in the order of the topic, so the newest one may lack an extreme that came late.
# Over time they follow from the quotes, and from the extremes before the range: the session's, if set there,
# else those of the first quote in the topic.
_PRICES = f"""
SELECT "time", last[3] AS "bid", last[4] AS "ask", last[5] AS "mid price",
    greatest(max(high) OVER so_far, CASE WHEN highest_bid_at < min(first) OVER whole THEN highest_bid
        WHEN first_at < min(first) OVER whole THEN min(high_before) OVER whole END) AS "highest bid",
    least(min(low) OVER so_far, CASE WHEN lowest_ask_at < min(first) OVER whole THEN lowest_ask
        WHEN first_at < min(first) OVER whole THEN max(low_before) OVER whole END) AS "lowest ask"
FROM (
    SELECT {_BUCKET} AS "time", session, min(quoted_at) AS first,
        max(ARRAY[extract(epoch FROM quoted_at), kafka_offset, bid, ask, mid_price]) AS last,
        max(bid) AS high, min(session_highest_bid) AS high_before,
        min(ask) AS low, max(session_lowest_ask) AS low_before
    FROM crypto_quotes WHERE {_QUOTES} GROUP BY 1, 2
) AS buckets JOIN crypto_sessions USING (session)
WHERE {_PAIR}
WINDOW whole AS (PARTITION BY session), so_far AS (PARTITION BY session ORDER BY "time")
ORDER BY 1"""  # noqa: S608

ALERTS = annotation(
    "alerts",
    f"""SELECT fired_at AS time, resolved_at AS timeend, rule || ': ' || message AS text, severity AS tags
    FROM alerts WHERE $__timeFilter(fired_at) AND {_PAIR} ORDER BY fired_at""",  # noqa: S608
    "red",
)


def _stat(
    title: str, expression: str, about: str, unit: str | None = None, decimals: int | None = None
) -> Json:
    """Return a panel with one value of the pair's newest session."""
    query = f"SELECT {expression} FROM crypto_sessions WHERE {_PAIR} ORDER BY last_at DESC LIMIT 1"  # noqa: S608
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "none",
    }
    return panel(
        "stat",
        title,
        [sql(query)],
        (4, 4),
        about,
        options=options,
        fieldConfig=field(unit=unit, decimals=decimals),
    )


def build() -> Json:
    """Return the dashboard."""
    prices = panel(
        "timeseries",
        "$pair · ${venue:text}: bid, ask, mid price and session extremes",
        [sql(_PRICES, "time_series")],
        (24, 10),
        "Last quote of each interval, and the session's extremes up to then.",
        fieldConfig=field(
            lineWidth=1,
            fillOpacity=0,
            spanNulls=False,
            overrides=[
                override("highest bid", custom_lineStyle={"fill": "dash", "dash": [8, 6]}),
                override("lowest ask", custom_lineStyle={"fill": "dash", "dash": [8, 6]}),
            ],
        ),
        options={"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    )
    spread = panel(
        "timeseries",
        "$pair · ${venue:text}: spread in basis points",
        [
            sql(
                f"""SELECT {_BUCKET} AS "time", max(spread_bps) AS "widest", min(spread_bps) AS "narrowest"
                FROM crypto_quotes WHERE {_QUOTES} GROUP BY 1 ORDER BY 1""",  # noqa: S608
                "time_series",
            )
        ],
        (12, 8),
        "Widest and narrowest spread of each interval, relative to the mid price: no spike is lost.",
        fieldConfig=field(unit="none", decimals=2, lineWidth=1, fillOpacity=10),
    )
    candles = panel(
        "candlestick",
        "$pair · ${venue:text}: mid price in windows",
        [
            sql(
                f"""SELECT window_start AS "time", open, high, low, close, ticks AS volume
                FROM ${{window:raw}} WHERE $__timeFilter(window_start) AND {_PAIR}
                AND (name = '1m' OR '${{window:raw}}' <> 'crypto_windows') ORDER BY 1""",  # noqa: S608
            )
        ],
        (12, 8),
        "Open, high, low and close of the mid price; the volume is the number of ticks.",
        options={"mode": "candles+volume", "candleStyle": "candles", "includeAllFields": False},
    )
    latest = panel(
        "table",
        "newest quote of every venue and pair",
        [
            sql(
                """SELECT venue, pair, quoted_at, bid, ask, mid_price, spread, spread_bps, age_seconds
                FROM crypto_latest_quotes WHERE consumer_group = ${group:sqlstring} ORDER BY pair, venue"""
            )
        ],
        (14, 8),
        "One row per venue and pair, independent of the variables above.",
        fieldConfig=field(overrides=[override("age_seconds", unit="s")]),
    )
    alerts = panel(
        "table",
        "alerts in the time range, all venues and pairs",
        [
            sql(
                """SELECT fired_at, resolved_at, severity, venue, pair, rule, message FROM alerts
                WHERE $__timeFilter(fired_at) AND consumer_group = ${group:sqlstring}
                ORDER BY fired_at DESC LIMIT 200"""
            )
        ],
        (10, 8),
        "An alert without resolved_at still fires.",
    )
    stats = [
        _stat("mid price", "mid_price", "Of the newest quote, in the quote currency."),
        _stat("spread", "spread_bps", "Of the newest quote, in basis points of the mid price.", decimals=2),
        _stat("highest bid", "highest_bid", "Of the newest session."),
        _stat("lowest ask", "lowest_ask", "Of the newest session."),
        _stat("largest spread", "max_spread", "Of the newest session, in the quote currency."),
        _stat(
            "age of the quote",
            "extract(epoch FROM clock_timestamp() - last_at) AS age",
            "Since the exchange's time of the newest quote.",
            "s",
            1,
        ),
    ]
    return dashboard(
        "cryptometrics-market",
        "Market",
        rows=[stats, [prices], [spread, candles], [latest, alerts]],
        variables=[GROUP, VENUE, PAIR, SESSION, WINDOW],
        annotations=[ALERTS],
        refresh="5s",
        since="now-15m",
    )
