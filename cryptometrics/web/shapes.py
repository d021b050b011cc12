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


Json = dict[str, Any]
