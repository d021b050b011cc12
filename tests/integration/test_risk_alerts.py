"""Alerts on risk figures: fired once with the rows, delivered, and ended only by their owner."""

from __future__ import annotations

import json
import os
import re
import signal
from functools import partial
from typing import TYPE_CHECKING

from tests.database import rows, scalar
from tests.fakes.receiver import Receiver
from tests.waiting import wait_until

if TYPE_CHECKING:
    from datetime import datetime

    from cryptometrics.config import Settings
    from tests.conftest import Cli
RULES = """
[[rule]]
name = "volatile"
kind = "volatility_pct"
range = "15m"
min_coverage = 0
level = 800
resolve_below = 300

[[rule]]
name = "fall"
kind = "drawdown_pct"
range = "1h"
min_coverage = 0
level = 4
severity = "critical"

[[rule]]
name = "tail"
kind = "value_at_risk_pct"
level = 50
for = "30m"

[[rule]]
name = "wide"
kind = "spread_bps"
level = 100000
"""
COMPLETE = "SELECT date_bin('1 minute', min(complete_until), 'epoch') FROM window_progress"
PLACE = "SELECT max(complete_until) FROM risk_progress"
ALERTS = """
SELECT rule, value IS NOT NULL, resolved_at IS NOT NULL, message FROM alerts ORDER BY rule, fired_at
"""


def up_to_date(settings: Settings) -> bool:
    return bool(scalar(settings, PLACE) == scalar(settings, COMPLETE))


def moved(settings: Settings, place: datetime | None) -> bool:
    return bool(scalar(settings, PLACE) != place) or up_to_date(settings)


def crash(cli: Cli) -> None:
    """Store twelve hours of minutes with a crash in the eleventh."""
    cli("init-db", "--partitions", "1")
    when = ["--rate", "0", "--step", "5s", "--seed", "7", "--start", "2026-07-01T12:00"]
    cli("simulate", *when, "--pair", "BTC-USD", "--count", "8640", "--scenario", "flash-crash@10h")
    cli("process", "--group", "g1", "--until-caught-up")


def test_each_alert_fires_once_although_the_follower_is_killed_and_is_delivered(
    cli: Cli, settings: Settings
) -> None:
    (cli.cwd / "alerts.toml").write_text(RULES)
    crash(cli)
    with Receiver() as receiver:
        webhook = {"CRYPTOMETRICS_WEBHOOK_URL": receiver.url}
        for _ in range(3):
            place = scalar(settings, PLACE)
            follower = cli.start("risk", "--follow", "--group", "g1", env=webhook)
            wait_until(partial(moved, settings, place), "it goes on, or is done", running=follower)
            os.kill(follower.pid, signal.SIGKILL)
            follower.communicate()
        follower = cli.start("risk", "--follow", "--group", "g1", env=webhook)
        wait_until(lambda: up_to_date(settings), "the figures are up to date", running=follower)
        pending = "SELECT count(*) FROM alert_notifications WHERE delivered_at IS NULL"
        wait_until(lambda: not scalar(settings, pending), "all is delivered", running=follower)
        follower.terminate()
        assert follower.wait(30) == 0
        posts = [(post.body["rule"], post.body["status"], post.body["kind"]) for post in receiver.taken()]
    found = rows(settings, ALERTS)
    assert [(rule, known, ended) for rule, known, ended, _ in found] == [
        ("fall", True, True),
        ("volatile", True, True),
    ], "\n".join(map(str, found))
    fall, volatile = (message for *_, message in found)
    assert re.search(r"price −\d\S* % from its highest of 1h, above 4 %", fall)
    assert re.search(r"realized volatility over 15m \S+ % a year, above 800 %", volatile)
    assert posts.count(("fall", "firing", "drawdown_pct")) == 1
    assert posts.count(("fall", "resolved", "drawdown_pct")) == 1
    assert len(posts) == 4
    # Half of the day has not happened yet, which nobody needs to be told.
    assert scalar(settings, "SELECT state FROM alert_states WHERE rule = 'tail'") == "unknown"
    json.loads(cli("verify", "--json").stdout)


def test_a_minute_computed_again_is_not_evaluated_again(cli: Cli, settings: Settings) -> None:
    (cli.cwd / "alerts.toml").write_text(RULES)
    crash(cli)
    follower = cli.start("risk", "--follow", "--group", "g1")
    wait_until(lambda: up_to_date(settings), "the figures are up to date", running=follower)
    before = rows(settings, ALERTS)
    rows(
        settings,
        "INSERT INTO changed_minutes (consumer_group, venue, pair, minute) "
        "SELECT consumer_group, venue, pair, window_start FROM crypto_windows",
    )
    wait_until(lambda: not scalar(settings, "SELECT count(*) FROM changed_minutes"), "computed again")
    follower.terminate()
    assert follower.wait(30) == 0
    assert rows(settings, ALERTS) == before


def test_each_command_ends_only_the_alerts_of_its_own_removed_rules(cli: Cli, settings: Settings) -> None:
    (cli.cwd / "alerts.toml").write_text(RULES)
    crash(cli)
    rows(
        settings,
        "INSERT INTO alerts (consumer_group, rule, kind, venue, pair, severity, level, message, started_at, "
        "fired_at) VALUES ('g1', 'old-risk', 'drawdown_pct', 'simulated', 'BTC-USD', 'info', 1, 'm', now(), "
        "now()), ('g1', 'old-process', 'spread_bps', 'simulated', 'BTC-USD', 'info', 1, 'm', now(), now())",
    )
    firing = "SELECT rule FROM alerts WHERE resolved_at IS NULL AND rule LIKE 'old-%%' ORDER BY rule"
    process = cli.start("process", "--group", "g1")
    wait_until(lambda: rows(settings, firing) == [("old-risk",)], "process ends its own", running=process)
    follower = cli.start("risk", "--follow", "--group", "g1")
    wait_until(lambda: rows(settings, firing) == [], "the follower ends its own", running=follower)
    for each in (follower, process):
        each.terminate()
        assert each.wait(60) == 0
