"""What the options of `export` offer is what there is."""

from __future__ import annotations

from cryptometrics.cli.export import INTERVALS, KINDS
from cryptometrics.store.candles import SIZES
from cryptometrics.store.datasets import DATASETS


def test_each_interval_is_a_size_of_candles() -> None:
    assert tuple(SIZES) == INTERVALS


def test_each_kind_is_a_dataset() -> None:
    assert set(KINDS) <= DATASETS.keys()
