"""The shapes of the API's answers: what OpenAPI documents, and what each answer is checked against.

Prices, sizes and money are exact decimals as text; ratios, ages and rates are numbers; times are ISO 8601 in
UTC. What is not known is null.
"""

# FastAPI reads these annotations when it runs, and Pydantic needs this TypedDict before Python 3.12.
from typing import Any

from typing_extensions import TypedDict


class PairRow(TypedDict):
    """The newest quote of a market, its session, and its newest risk figures over 24 hours."""

    venue: str
    pair: str
    simulated: bool
    session: str
    bid: str
    ask: str
    bid_size: str | None
    ask_size: str | None
    mid_price: str
    spread: str
    spread_bps: float
    highest_bid: str
    lowest_ask: str
    max_spread: str
    volatility: float | None
    value_at_risk: float | None
    drawdown: float | None
    completeness: float | None
    gap_minutes: int | None
    risk_as_of: str | None
    timestamp: str
    age_seconds: float
    ticks_per_second: float | None
    ticks: int


class PairsAnswer(TypedDict):
    """The markets of a group, and the groups that there are."""

    as_of: str
    group: str
    groups: list[str]
    pairs: list[PairRow]


class Acknowledgement(TypedDict):
    """Who has taken note of an alert, and why."""

    by: str
    at: str
    why: str


class AlertRow(TypedDict):
    """One alert."""

    id: int
    venue: str
    pair: str
    rule: str
    kind: str
    severity: str
    state: str
    message: str
    value: str | None
    threshold: str
    fired_at: str
    resolved_at: str | None
    resolved_message: str | None
    acknowledged: Acknowledgement | None
    silenced: bool


class PortfolioSummary(TypedDict):
    """The newest stored figures of a portfolio."""

    portfolio: str
    version: int
    as_of: str
    currency: str | None
    value: str | None
    profit_and_loss: str | None
    value_at_risk: str | None
    expected_shortfall: str | None
    drawdown: str | None


class PipelineSummary(TypedDict):
    """The outcomes of all partitions, and how many messages are not stored yet."""

    lag: int | None
    metrics: int
    rejected: int
    gaps: int
    duplicates: int
    holes: int
    ticks_per_second: float | None
    trouble: str | None


LabelSpan = TypedDict("LabelSpan", {"from": str, "until": str, "label": str})
"""Consecutive minutes with one label: gap, unverified, imported or simulated."""


class AlertMarker(TypedDict):
    """An alert of the market that fired in the range."""

    id: int
    rule: str
    severity: str
    message: str
    at: str
    resolved_at: str | None


class QuotesAnswer(TypedDict):
    """A market's quotes over time, one point per bucket; `columns` names the values of a point.

    A point has the time of its last quote in milliseconds since 1970. Its bid, ask and mid price are those of
    this quote; low and high are the lowest and the highest mid price of the bucket. A point without values
    begins a silence that is unusually long for the market.
    """

    pair: str
    venue: str
    group: str
    since: str
    until: str
    watermark: str | None
    of_minutes: bool
    columns: list[str]
    points: list[list[int | float | str | None]]
    labels: list[LabelSpan]
    alerts: list[AlertMarker]


class CandleRow(TypedDict):
    """One candle of mid prices, with the worst label of its minutes."""

    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str | None
    ticks: int
    complete: bool
    label: str | None


class CandlesAnswer(TypedDict):
    """A market's candles, oldest first; windows without ticks have none."""

    pair: str
    venue: str
    group: str
    interval: str
    candles: list[CandleRow]


class RiskRow(TypedDict):
    """The newest figures of a market over one range."""

    venue: str
    pair: str
    range: str
    as_of: str
    age_seconds: float
    minutes: int
    minutes_with_ticks: int
    coverage: float
    gap_minutes: int
    volatility: float | None
    volatility_ewma: float | None
    value_at_risk: float | None
    expected_shortfall: float | None
    drawdown: float | None
    max_drawdown: float | None


class RiskSeries(TypedDict):
    """Figures over the 24 hours before each moment; times in milliseconds since 1970."""

    pair: str
    venue: str
    columns: list[str]
    points: list[list[int | float | None]]


class Correlation(TypedDict):
    """How each pair of a venue moves with each other one over 24 hours; null where it is not known."""

    venue: str
    as_of: str
    range_seconds: int
    bar_seconds: int
    pairs: list[str]
    coverage: list[float]
    matrix: list[list[float | None]]


class RiskAnswer(TypedDict):
    """The newest risk figures of a group."""

    group: str
    figures: list[RiskRow]
    correlation: Correlation | None
    series: RiskSeries | None


class PortfolioSeries(TypedDict):
    """Stored figures of a portfolio over time; times in milliseconds since 1970, money as text."""

    columns: list[str]
    points: list[list[int | str | None]]


class PortfolioAnswer(TypedDict):
    """The portfolios that are in force, and one of them as `cryptometrics portfolio --json` prints it."""

    portfolios: list[str]
    portfolio: dict[str, Any] | None
    series: PortfolioSeries | None


class SilenceRow(TypedDict):
    """Alerts that are not sent for a while."""

    id: int
    rule: str
    pair: str
    by: str
    why: str
    since: str
    until: str


class AlertsAnswer(TypedDict):
    """Alerts that fire, those that have ended, and the silences in force."""

    firing: list[AlertRow]
    history: list[AlertRow]
    silences: list[SilenceRow]


class PartitionRow(TypedDict):
    """A partition of the topic: its reader, the next offset, and the count of each outcome."""

    topic: str
    partition: int
    next_offset: int
    end_offset: int | None
    lag: int | None
    owner: str
    updated_at: str
    metrics: int
    rejected: int
    gaps: int
    duplicates: int
    holes: int


class RejectedText(TypedDict):
    """A rejected message: the beginning of its text, how many bytes all of it has, and whether it was cut."""

    id: int
    at: str
    detail: str
    text: str
    bytes: int | None
    cut: bool


class RejectReason(TypedDict):
    """Messages rejected for one reason; `more`: there are more than were counted."""

    reason: str
    count: int
    more: bool
    newest: RejectedText


class FeedGap(TypedDict):
    """What a feed has missed of a pair."""

    venue: str
    pair: str
    kind: str
    begins_at: str | None
    ends_at: str
    trades_missed: int | None


class FeedPair(TypedDict):
    """The live feed of a pair."""

    venue: str
    pair: str
    ticks: int
    gaps: int
    trades_missed: int
    reconnects: int
    longest_gap_seconds: float


class VerifiedGroup(TypedDict):
    """When `verify --since-last` last found nothing wrong."""

    at: str
    with_topic: bool


class PipelineAnswer(TypedDict):
    """How far the topic is read, what was rejected, and what the feed has missed."""

    as_of: str
    group: str
    trouble: str | None
    partitions: list[PartitionRow]
    rates: dict[str, float | None]
    rejected: list[RejectReason]
    gaps: list[FeedGap]
    feed: list[FeedPair]
    verified: VerifiedGroup | None
