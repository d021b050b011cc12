"""The metrics and the health of `risk --follow`: the newest figures of each pair, and its progress."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from cryptometrics.telemetry.build_info import build_info
from cryptometrics.telemetry.endpoint import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from cryptometrics.market.venues import Market
    from cryptometrics.store.latest_risk import LatestRisk

STALLED_S = 30.0
"""`/healthz` fails after this long without a report of the follower."""

_FIGURES = {
    "volatility": "Realized volatility of the last 24 hours, annualised.",
    "drawdown": "How far the newest close is below the highest mid price of the last 24 hours.",
    "value_at_risk": "Loss over one hour that is exceeded with a probability of 1 %, from the last 24 hours.",
}


class RiskMetrics:
    """Holds the newest figures: the follower's loop calls `update`, the endpoint `health` and `collect`."""

    def __init__(self, group: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._group, self._clock = group, clock
        self._figures: Mapping[Market, LatestRisk] = {}
        self._active = False
        self._rows, self._behind = 0, 0.0
        self._reported_at = clock()

    def update(
        self, figures: Mapping[Market, LatestRisk], *, active: bool, rows: int, behind_seconds: float
    ) -> None:
        """Replace the report; the caller must not change the mapping afterwards.

        figures: the newest of each market over 24 hours. active: whether this follower writes.
        rows: how many it has written. behind_seconds: of the complete minutes, at the venue with the most.
        """
        self._figures, self._active, self._rows = figures, active, rows
        self._behind, self._reported_at = behind_seconds, self._clock()

    def health(self) -> Health:
        """Return whether the follower's loop goes on; a standby is healthy."""
        silence = self._clock() - self._reported_at
        details = {
            "active": self._active,
            "seconds_behind": round(self._behind, 1),
            "seconds_since_report": round(silence, 1),
        }
        return Health(silence < STALLED_S, details)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; of a standby no figures, so that each pair has one series."""
        yield build_info()
        yield self._one(GaugeMetricFamily, "risk_active", "1 while this follower writes.", int(self._active))
        yield self._one(CounterMetricFamily, "risk_rows", "Rows of crypto_risk written.", self._rows)
        yield self._one(
            GaugeMetricFamily,
            "risk_behind_seconds",
            "Complete minutes whose figures are not computed yet, at the venue with the most.",
            self._behind,
        )
        known = sorted(self._figures.items()) if self._active else []
        for name, meaning in _FIGURES.items():
            family = GaugeMetricFamily(
                f"cryptometrics_{name}_ratio", meaning, labels=["group", "venue", "pair"]
            )
            for market, row in known:
                value = getattr(row, name)
                if value is not None:
                    family.add_metric([self._group, market.venue, market.pair], value)
            yield family

    def _one(
        self, kind: type[GaugeMetricFamily] | type[CounterMetricFamily], name: str, meaning: str, value: float
    ) -> Metric:
        family = kind(f"cryptometrics_{name}", meaning, labels=["group"])
        family.add_metric([self._group], value)
        return family
