"""Which of Beam's options a job gets."""

from __future__ import annotations

from datetime import timedelta

import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions

from cryptometrics.beam.job import Job, Shape
from cryptometrics.beam.launch import options_of
from cryptometrics.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Beam's imports warn of their own

FLINK = ["--runner", "PortableRunner", "--job_endpoint", "jobserver.example.com:8099"]
FOLLOWING = Job("g1", "5m", Shape(timedelta(minutes=5)), timedelta(seconds=10), follow=True)


@pytest.mark.parametrize(
    ("readers", "given", "parallelism"),
    [
        (8, [], 8),
        (8, ["--parallelism", "8"], 8),
        (None, ["--parallelism", "3"], 3),
        (None, [], -1),  # what the cluster says
    ],
)
def test_readers_are_tasks_of_flink(readers: int | None, given: list[str], parallelism: int) -> None:
    options = options_of(FOLLOWING, [*FLINK, *given], readers)
    assert options.view_as(FlinkRunnerOptions).parallelism == parallelism


def test_two_numbers_of_readers_are_a_mistake() -> None:
    with pytest.raises(UserError, match="--readers 8 and --parallelism 3 contradict"):
        options_of(FOLLOWING, [*FLINK, "--parallelism", "3"], 8)


def test_a_job_on_flink_has_the_options_that_following_needs_unless_they_are_given() -> None:
    options = options_of(FOLLOWING, [*FLINK, "--externalized_checkpoints_enabled"])
    assert options._flags[len(FLINK) :] == [
        "--externalized_checkpoints_enabled",
        "--finish_bundle_before_checkpointing",
        "--retain_externalized_checkpoints_on_cancellation",
        "--max_bundle_time_mills",
        "500",
    ]
    given = options_of(FOLLOWING, [*FLINK, "--max_bundle_time_mills=90"])
    assert [word for word in given._flags if "bundle_time" in word] == ["--max_bundle_time_mills=90"]
