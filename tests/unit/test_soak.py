"""The soak sees memory that grows, handles that leak and alerts that do not arrive."""

from __future__ import annotations

import random
import re

import pytest

from tests.fakes.receiver import Act, Post
from tests.faults.page import ROOT
from tests.faults.soak.deliveries import Notification, missing_by_key, missing_by_text, unmarked
from tests.faults.soak.faults import FAULTS, shuffled
from tests.faults.soak.report import BEGIN, END, Report
from tests.faults.soak.samples import MEGABYTE, Life, Sample, together


def life(seconds: int = 1_800, per_hour: float = 0.0, leaks_every: int = 10**6, name: str = "web") -> Life:
    """Return a life whose memory, after a start of ten minutes, grows at a rate; handles come and go."""
    return Life(
        name,
        [
            Sample(
                at,
                round((50 + min(at, 600) / 10 + per_hour * at / 3600) * MEGABYTE),
                20 + at % 7 + at // leaks_every,
                5,
            )
            for at in range(seconds)
        ],
    )


@pytest.mark.parametrize("per_hour", [-2.0, 0.0, 0.5, 30.0])
def test_the_slope_is_that_of_the_time_after_the_start(per_hour: float) -> None:
    assert life(per_hour=per_hour).slope() == pytest.approx(per_hour, abs=0.01)


def test_a_short_life_has_no_slope() -> None:
    assert life(1_190).slope() is None
    assert life(1_202).slope() is not None
    assert Life("web").slope() is None


def test_a_leak_is_seen_although_the_counts_change_all_the_time() -> None:
    assert life().handles_gained() == 0
    assert life(leaks_every=60).handles_gained() == 1_351 // 60 - (450 // 60 + 6)
    assert life(leaks_every=60).threads_gained() == 0
    assert life(30).handles_gained() is None


def test_a_task_that_moves_from_worker_to_worker_is_no_leak_but_one_that_doubles_is() -> None:
    def worker(number: int, begun: int, seconds: int, task: range, leaks: bool = False) -> Life:
        """Return a life that holds 4 more handles while it has the task."""
        samples = [
            Sample(at, MEGABYTE, 20 + 4 * (begun + at in task) + (leaks and at > 1_000), 5)
            for at in range(seconds)
        ]
        return Life(f"worker {number}", samples, begun)

    moved = [
        worker(1, 0, 1_800, range(900)),
        worker(2, 0, 600, range(0)),
        worker(2, 600, 1_200, range(900, 1_800)),
    ]
    assert moved[2].handles_gained() == 4
    assert together("both", moved).handles_gained() == 0
    assert {sample.handles for sample in together("both", moved).samples} == {44}
    assert Report(30, 4, moved).failings() == []
    moved[0] = worker(1, 0, 1_800, range(900), leaks=True)
    assert Report(30, 4, moved).failings() == ["all workers: 1 handles gained"]


def test_a_report_names_what_is_not_as_promised() -> None:
    lives = [life(per_hour=1.5), life(name="worker", leaks_every=60), life(name="risk")]
    report = Report(30, 4, lives, {"kill -9 of a cat": [0.3, 16.2], "a nap": [1.0]})
    assert report.failings() == [
        "kill -9 of a cat: 16.2 s to recover, more than 15",
        "web: memory grows by 1.5 MB per hour",
        "all workers: 9 handles gained",
    ]


def test_the_tables_go_between_the_marks_with_the_worst_of_each_process() -> None:
    before = (ROOT / "docs/guarantees.md").read_text()
    lives = [life(90, name="worker"), life(1_500, per_hour=0.5, name="worker")]
    after = Report(30, 4, lives, {"a nap": [1.0, 2.0]}, 9_000, 7, 28, 31).page(before, "1 May 2030")
    assert "Measured on 1 May 2030: 2 faults in 30 minutes with seed 4. 9,000 offsets, " in after
    assert re.search(r"\| worker +\| +2 \| +25\.0 \| +110 \| +\+0\.50 \| +0 \| +0 \|", after)
    assert re.search(r"\| a nap \| +2 \| +2\.0 \|", after)
    outside = [re.sub(f"{BEGIN}.*{END}", "", page, flags=re.DOTALL) for page in (before, after)]
    assert outside[0] == outside[1] != before


def test_each_kind_of_fault_comes_once_before_any_comes_again_and_the_seed_repeats_the_order() -> None:
    first, again = shuffled(random.Random(7)), shuffled(random.Random(7))
    orders = [[next(first) for _ in FAULTS] for _ in range(3)]
    assert all({fault.name for fault in order} == {fault.name for fault in FAULTS} for order in orders)
    assert orders[0] != orders[1]
    assert [next(again) for _ in FAULTS] == orders[0]


# Deliveries


def notification(key: str, status: str = "firing", pair: str = "BTC-USD", message: str = "") -> Notification:
    return Notification("webhook", key, status, True, "move", "coinbase", pair, message or f"{key}!")


def posts(*keys: str, act: Act = "accept") -> list[Post]:
    return [Post(key, {}, {}, "/", act) for key in keys]


def told(title: str, *lines: str) -> Post:
    return Post("", {"title": title, "message": "\n".join(lines)}, {}, "/", "accept")


OUTBOX = [notification("a"), notification("x", pair="ETH-USD"), notification("b", "resolved")]


def test_duplicates_and_another_order_of_pairs_are_allowed() -> None:
    assert missing_by_key(OUTBOX, [*posts("x"), *posts("a", act="cut"), *posts("a", "b", "b")]) == []


def test_a_notification_that_is_missing_or_comes_too_early_is_named() -> None:
    assert missing_by_key(OUTBOX, [*posts("a", "b"), *posts("x", act="refuse")]) == [
        "webhook: firing move coinbase ETH-USD was not received"
    ]
    assert missing_by_key(OUTBOX, posts("x", "b", "a", "b")) == [
        "webhook: resolved move coinbase BTC-USD came before its predecessor"
    ]
    assert unmarked([OUTBOX[0]._replace(is_delivered=False)]) == [
        "webhook: firing move coinbase BTC-USD is not marked as delivered"
    ]


def test_messages_to_people_are_found_alone_and_in_lists() -> None:
    alone = [
        told("[FIRING] info move", "a!"),
        told("[FIRING] info move", "x!"),
        told("[RESOLVED] info m", "b!"),
    ]
    listed = told("[3 ALERTS] …", "12:00 FIRING info move: a!", "12:00 FIRING m: x!", "12:01 RESOLVED m: b!")
    assert missing_by_text(OUTBOX, alone) == missing_by_text(OUTBOX, [listed]) == []
    assert missing_by_text(OUTBOX, alone[:2]) == [
        "webhook: resolved move coinbase BTC-USD was not received, or not in order"
    ]
    assert missing_by_text(OUTBOX, [alone[2], *alone[:2]]) != []
    assert missing_by_text([notification("a", "resolved")], [told("[FIRING] info move", "a!")]) != []
