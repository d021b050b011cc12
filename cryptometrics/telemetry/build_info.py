"""The version metric, which every endpoint serves."""

from __future__ import annotations

import platform

from prometheus_client.metrics_core import InfoMetricFamily, Metric

from cryptometrics import __version__


def build_info() -> Metric:
    """Return the running version and its Python version."""
    info = {"version": __version__, "python": platform.python_version()}
    return InfoMetricFamily("cryptometrics_build", "The running version.", value=info)
