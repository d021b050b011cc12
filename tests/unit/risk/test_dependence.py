from __future__ import annotations

import math

import numpy as np
import pytest

from cryptometrics import risk
from cryptometrics.risk.dependence import beta_of_known, correlation_of_known


@pytest.mark.parametrize("figure", [risk.correlation, risk.beta])
def test_too_few_returns_and_a_column_that_does_not_vary_give_none(figure: object) -> None:
    assert callable(figure)
    assert figure([], []) is None
    assert figure([0.1], [0.1]) is None
    assert figure([0.1, 0.2, 0.3], [0.1, 0.1, 0.1]) is None


def test_a_price_that_never_moves_has_a_beta_of_zero_and_no_correlation() -> None:
    assert risk.beta([0.0, 0.0, 0.0], [0.1, 0.2, 0.4]) == 0
    assert risk.correlation([0.0, 0.0, 0.0], [0.1, 0.2, 0.4]) is None


def test_only_places_where_both_are_known_count() -> None:
    a = np.array([0.1, math.nan, 0.3, 0.2, 0.5])
    b = np.array([0.2, 0.9, math.nan, 0.1, 0.4])
    assert correlation_of_known(a, b) == risk.correlation([0.1, 0.2, 0.5], [0.2, 0.1, 0.4])
    assert beta_of_known(a, b) == risk.beta([0.1, 0.2, 0.5], [0.2, 0.1, 0.4])
    assert correlation_of_known(a[:2], b[:2]) is None


def test_columns_of_unequal_length_are_refused() -> None:
    for figure in (risk.correlation, risk.beta):
        with pytest.raises(ValueError, match="a has 2, b has 1"):
            figure([0.1, 0.2], [0.1])
