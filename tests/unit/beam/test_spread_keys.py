"""Keys that fall evenly on Flink's tasks."""

from __future__ import annotations

from collections import Counter

import pytest

from cryptometrics.beam.spread_keys import KEY_GROUPS, key_group, spread_keys


def test_a_key_is_in_the_group_that_flink_computes() -> None:
    # By MathUtils.murmurHash of flink-core 1.16 over the hashCode of a ByteBuffer.
    assert [key_group(key) for key in range(6)] == [123, 36, 29, 125, 102, 29]
    assert [key_group(key) for key in (127, 128, 300)] == [113, 52, 98]


@pytest.mark.parametrize("tasks", [1, 2, 4, 8])
@pytest.mark.parametrize("partitions", [1, 2, 4, 8, 48, 300])
def test_no_task_has_two_partitions_more_than_another(partitions: int, tasks: int) -> None:
    keys = spread_keys(partitions)
    assert len(set(keys)) == partitions
    load = Counter(key_group(key) * tasks // KEY_GROUPS for key in keys)
    assert max(load.values()) - min(load[task] for task in range(tasks)) <= 1
