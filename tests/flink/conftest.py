"""What the tests on Flink share; they run only by `make test-flink` and `make bench-windows`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryptometrics.errors import CryptometricsError
from tests.conftest import clean_environment, environment_of
from tests.flink import jars
from tests.flink.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cryptometrics.config import Settings

    MakeCluster = Callable[[], Cluster]


@pytest.fixture(scope="session")
def class_path(shared_jars: Path) -> str:
    """Return Flink's class path; where a version is not to be had, say so in one line."""
    try:
        return jars.ensure(shared_jars.parent / "flink-jars")
    except CryptometricsError as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture
def make_cluster(class_path: str, settings: Settings, open_folder: Path) -> MakeCluster:
    """Return a maker of clusters of one deployment: each finds the checkpoints of those before."""
    place = open_folder / settings.kafka_topic
    numbers = iter(range(1, 10))

    def make() -> Cluster:
        environment = clean_environment() | environment_of(settings)
        folder = place / str(next(numbers))
        return Cluster(folder, class_path, environment, checkpoints=place / "checkpoints")

    return make


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Iterator[Cluster]:
    """Return a running cluster."""
    with make_cluster() as cluster:
        yield cluster
