"""Fixtures of the fault tests, and the final table, collected from all test processes."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults import page
from tests.faults.arena import Arena
from tests.faults.outcome import Outcome, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services

FULL = os.environ.get("FAULTS") == "full"
"""Whether the counts are those of the table in docs/guarantees.md (`make faults`)."""
LONGEST = (
    "test_postgres_is_away_under_full_load_and_memory_stays_flat",
    "test_poison_among_good_ticks",
    "test_a_statement_takes_longer_than_its_limit",
    "test_a_worker_is_killed_at_any_moment",
    # One after another, so that a process starts the three brokers once.
    "test_the_brokers_are_restarted_in_turn",
    "test_two_of_three_brokers_are_away",
    "test_the_leader_of_a_partition_is_killed",
    "test_the_active_controller_is_killed",
    "test_partitions_move_to_other_brokers",
    "test_workers_join_and_leave_every_second",
    "test_the_feed_repeats_itself_and_comes_out_of_order",
    "test_midnight_comes_in_mid_batch",
    "test_another_session_holds_locks",
    "test_the_broker_is_killed_while_partitions_change_hands",
    "test_a_worker_sleeps_while_another_takes_over_and_wakes_up_late",
    "test_a_worker_sleeps_in_mid_copy_with_the_lock_of_its_rows",
)
"""The tests that take minutes in full, the longest first: begun last, one would be waited for alone."""
PLACE, OUTCOME = "place", "outcome"
"""Names under which a report carries the position and the outcome of its test between processes."""

STARTED = pytest.StashKey[float]()

_outcomes: list[tuple[int, Outcome]] = []
"""With the place of each one's test, in the process that prints the table."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STARTED] = time.time()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    ours = [item for item in items if here in item.path.parents]
    for place, item in enumerate(ours):
        item.add_marker(pytest.mark.slow)
        item.add_marker(pytest.mark.timeout(3600 if FULL else 300))
        item.user_properties.append((PLACE, place))
    if FULL and items:
        ranks = {name: rank for rank, name in enumerate(LONGEST)}
        items.sort(key=lambda item: ranks.get(item.name.partition("[")[0], len(LONGEST)))
        items.insert(
            1, items.pop()
        )  # a process gets two at first: the longest must not hold up another long one


@pytest.fixture
def arena(
    request: pytest.FixtureRequest, settings: Settings, services: Services, tmp_path: Path
) -> Iterator[Arena]:
    """Return a database and a topic with nothing in them, both services running."""
    with Arena(settings, services, tmp_path, FULL) as arena:
        yield arena
        for outcome in arena.outcomes:
            request.node.user_properties.append((OUTCOME, dataclasses.asdict(outcome)))
        services.up()  # where a test failed in the middle of a fault


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        place = next((value for name, value in report.user_properties if name == PLACE), 0)
        outcomes = [value for name, value in report.user_properties if name == OUTCOME]
        _outcomes.extend((int(str(place)), Outcome(**value)) for value in outcomes)  # type: ignore[arg-type]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if FULL and session.exitstatus == pytest.ExitCode.OK and any(o.failings() for _, o in _outcomes):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _outcomes or hasattr(
        terminalreporter.config, "workerinput"
    ):  # one of several: the first prints it
        return
    outcomes = [outcome for _, outcome in sorted(_outcomes, key=lambda placed: placed[0])]
    terminalreporter.section("faults")
    for line in table(outcomes):
        terminalreporter.write_line(line)
    if FULL:
        for outcome in outcomes:
            for failing in outcome.failings():
                terminalreporter.write_line(f"NOT AS PROMISED: {outcome.fault}: {failing}", red=True)
    written = os.environ.get("FAULTS_PAGE")
    if written and FULL and not terminalreporter.stats.keys() & {"failed", "error", "skipped"}:
        passed = len(terminalreporter.stats["passed"])
        minutes = (time.time() - terminalreporter.config.stash[STARTED]) / 60
        text = Path(written).read_text()
        Path(written).write_text(page.replaced(text, outcomes, page.circumstances(), passed, minutes))
    if place := os.environ.get("FAULTS_RESULTS"):
        with Path(place).open("a") as results:
            results.writelines(json.dumps(dataclasses.asdict(outcome)) + "\n" for outcome in outcomes)
