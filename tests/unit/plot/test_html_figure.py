"""A page has the content of the picture, names are text in it, and nothing comes from elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from cryptometrics.plot.html_figure import page_of
from cryptometrics.plot.panels import PANELS, panels_of
from cryptometrics.plot.theme import DARK, LIGHT
from tests.charts import candles, series


def test_a_page_says_what_the_picture_says() -> None:
    page = page_of([series("BTC-USD", venue="simulated"), series("ETH-USD")], PANELS, LIGHT)
    for text in (
        "SIMULATED",
        "time (UTC)",
        "price (USD)",
        "spread (bps)",
        "ticks per second",
        "session high bid 67,876.57",
        "session low ask 66,950.06",
        "session max spread 93.30",
        "ETH-USD",
    ):
        assert text in page, text


def test_a_page_of_candles_has_their_volume_and_spread() -> None:
    page = page_of([candles("BTC-USD")], PANELS, DARK)
    for text in ("5m candles", "mid price (USD)", "volume (BTC)", "spread (USD)", DARK.background):
        assert text in page, text


def test_names_are_text_and_nothing_comes_from_elsewhere() -> None:
    chart = replace(series("BTC-USD"), group="<img src=http://elsewhere/x> $$x^2$$")
    page = page_of([chart], panels_of(("mid_price",)), LIGHT, (800, 600))
    assert "<img src=http://elsewhere" not in page
    head, _, body = page.partition("</head>")
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)\s*=", head[:2000] + body)


@pytest.mark.parametrize("metrics", [("bid",), ("max_spread",), ("spread", "max_spread"), ("spread_bps",)])
def test_any_choice_of_metrics_can_be_a_page(metrics: tuple[str, ...]) -> None:
    assert "BTC-USD" in page_of([series("BTC-USD")], panels_of(metrics), LIGHT)
