"""Made-up data for charts: pairs of very different prices, over several sessions with gaps."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from cryptometrics.market.venues import DEFAULT_VENUE, Market
from cryptometrics.store.candles import SIZES, Candle, Candles
from cryptometrics.store.running_extremes import EXTREMES, running, session_starts
from cryptometrics.store.stored_sessions import SessionRow
from cryptometrics.store.tick_series import BucketValues, Series

START = datetime(2024, 1, 5, 20, tzinfo=UTC)
PAIRS = {
    "BTC-USD": (67210.0, 2),
    "ETH-USD": (3500.0, 2),
    "SHIB-USD": (0.00001306, 10),
    "SOL-EUR": (140.0, 2),
    "DOGE-USD": (0.12, 5),
    "XRP-USD": (0.5, 4),
}
"""Price and decimals of each pair."""
GROUP = "a group with a rather long name"


def series(
    pair: str,
    sessions: tuple[tuple[datetime, int], ...] = ((START, 300),),
    *,
    every: timedelta = timedelta(seconds=10),
    holes: tuple[range, ...] = (range(100, 160),),
    venue: str = DEFAULT_VENUE,
) -> Series:
    """Return buckets of ten ticks for sessions of (start, buckets), each without the buckets of the holes."""
    rng = random.Random(pair)
    price, places = PAIRS[pair]
    step = Decimal(1).scaleb(-places)
    times: list[datetime] = []
    session_of: list[int] = []
    mids: list[float] = []
    for number, (start, buckets) in enumerate(sessions):
        for bucket in range(buckets):
            price *= 1 + rng.gauss(0, 0.0005)
            if not any(bucket in hole for hole in holes):
                times.append(start + bucket * every)
                session_of.append(len(sessions) - 1 - number)  # the newest session is the first
                mids.append(price)
    asks = [Decimal(mid * (1.0001 + rng.expovariate(5000))).quantize(step) for mid in mids]
    bids = [Decimal(mid * 0.9999).quantize(step) for mid in mids]
    spreads = [ask - bid for bid, ask in zip(bids, asks, strict=True)]
    quotes = {"highest_bid": bids, "lowest_ask": asks, "max_spread": spreads}
    rows = []
    for number in range(len(sessions)):
        chosen = [index for index, of in enumerate(session_of) if of == number]
        extremes: dict[str, Decimal | datetime] = {}
        for metric, values in quotes.items():
            best = EXTREMES[metric].better
            found = chosen[0]
            for index in chosen:
                if values[index] != values[found] and best(values[index], values[found]) == values[index]:
                    found = index
            extremes |= {metric: values[found], f"{metric}_at": times[found]}
        rows.append(
            SessionRow(
                venue=venue,
                pair=pair,
                session=f"{times[chosen[0]]:%Y-%m-%d}",
                consumer_group=GROUP,
                ticks=10 * len(chosen),
                late=0,
                bid=bids[chosen[-1]],
                ask=asks[chosen[-1]],
                first_at=times[chosen[0]],
                last_at=times[chosen[-1]],
                **extremes,  # type: ignore[arg-type]
            )
        )
    metrics = {
        "bid": bids,
        "ask": asks,
        "mid_price": [(bid + ask) / 2 for bid, ask in zip(bids, asks, strict=True)],
        "spread": spreads,
        "spread_bps": [20_000 * (a - b) / (a + b) for b, a in zip(bids, asks, strict=True)],
    } | {
        metric: running(metric, values, session_of, rows, [None] * len(rows))
        for metric, values in quotes.items()
    }
    return Series(
        market=Market(venue, pair),
        group=GROUP,
        sessions=rows,
        start=times[0],
        end=times[-1],
        width=every,
        first_at=times,
        last_at=[time + every * 0.9 for time in times],
        ticks=[10] * len(times),
        locked=[int(spread == 0) for spread in spreads],
        metrics={metric: BucketValues(values, values, values) for metric, values in metrics.items()},
        session_starts=session_starts(session_of),
    )


def candles(
    pair: str,
    count: int = 100,
    *,
    name: str = "5m",
    holes: tuple[range, ...] = (range(30, 45), range(70, 72)),
    venue: str = DEFAULT_VENUE,
) -> Candles:
    """Return candles with holes, the last one not complete."""
    rng = random.Random(pair)
    price, places = PAIRS[pair]
    size = SIZES[name]
    found = []
    for number in range(count):
        ends = [price, price := price * (1 + rng.gauss(0, 0.001))]
        high, low = max(ends) * (1 + rng.expovariate(2000)), min(ends) * (1 - rng.expovariate(2000))
        if any(number in hole for hole in holes):
            continue
        step = Decimal(1).scaleb(-places - 1)
        spread = Decimal(price * 0.0001 * (1 + rng.random())).quantize(step)
        start = START + number * size
        found.append(
            Candle(
                start=start,
                end=start + size,
                ticks=300,
                open=Decimal(ends[0]).quantize(step),
                high=Decimal(high).quantize(step),
                low=Decimal(low).quantize(step),
                close=Decimal(ends[1]).quantize(step),
                avg_spread=spread,
                max_spread=3 * spread,
                volume=Decimal(rng.randrange(1, 1000)) / 100,
                complete=number < count - 1,
                open_at=start,
                close_at=start + size - timedelta(seconds=1),
            )
        )
    return Candles(Market(venue, pair), GROUP, name, size, found)
