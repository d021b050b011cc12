"""What a list of groups says: the lag that is known, and the group that was meant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryptometrics.errors import NotFoundError
from cryptometrics.store.group_overview import GroupOverview, find

GROUP = GroupOverview("g1", 10, 12, 2, None, 8192, None, {("t", 0): 5, ("t", 1): 7})


def test_the_lag_is_the_sum_over_its_partitions() -> None:
    assert GROUP.lag({("t", 0): 8, ("t", 1): 7, ("t", 2): 100}) == 3


def test_an_end_behind_the_next_offset_is_no_lag() -> None:
    """A topic that was recreated begins anew; the other partition's lag must not shrink by it."""
    assert GROUP.lag({("t", 0): 0, ("t", 1): 9}) == 2


@pytest.mark.parametrize("ends", [{}, {("t", 0): 8}, {("other", 0): 8, ("t", 1): 7}])
def test_a_lag_of_which_an_end_is_missing_is_unknown(ends: dict[tuple[str, int], int]) -> None:
    assert GROUP.lag(ends) is None


def test_a_group_that_reads_nothing_has_no_lag() -> None:
    assert replace(GROUP, next_offsets={}).lag({("t", 0): 8}) is None


def test_a_name_spelled_alike_is_suggested() -> None:
    groups = [replace(GROUP, name=name) for name in ("cryptometrics", "g1", "other")]
    assert find(groups, "g1").name == "g1"
    with pytest.raises(NotFoundError) as error:
        find(groups, "cryptometric")
    assert str(error.value) == (
        "there is no group cryptometric; there are cryptometrics, g1, other (did you mean cryptometrics?)"
    )
    with pytest.raises(NotFoundError, match=r"there is no group zzz; there are cryptometrics, g1, other$"):
        find(groups, "zzz")
    with pytest.raises(NotFoundError, match="nothing has been stored yet"):
        find([], "g1")
