"""Which version runs: the metric that every endpoint has."""

from __future__ import annotations

import platform

from prometheus_client.metrics_core import InfoMetricFamily, Metric

from cryptometrics import __version__


def build_info() -> Metric:
    """Return which version runs, on which Python."""
    info = {"version": __version__, "python": platform.python_version()}
    return InfoMetricFamily("cryptometrics_build", "Which version runs.", value=info)
