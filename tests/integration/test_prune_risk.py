"""`prune` drops old rows of `crypto_risk`, and `verify` does not miss them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.database import rows, scalar
from tests.waiting import wait_until

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from tests.conftest import Cli

COUNTS = "SELECT range, count(*) FROM crypto_risk GROUP BY range ORDER BY range"


def figures(cli: Cli, settings: Settings, start: datetime) -> None:
    """Store three hours of minutes with their figures."""
    cli("init-db", "--partitions", "1")
    when = ["--rate", "0", "--step", "20s", "--seed", "7", "--start", start.isoformat()]
    cli("simulate", *when, "--pair", "BTC-USD", "--count", "540")
    cli("process", "--group", "g1", "--until-caught-up")
    follower = cli.start("risk", "--follow", "--group", "g1")
    wait_until(
        lambda: scalar(settings, "SELECT count(*) FROM crypto_risk") == 3 * 179, "figures", running=follower
    )
    follower.terminate()
    assert follower.wait(30) == 0


def test_day_figures_are_thinned_to_one_an_hour(cli: Cli, settings: Settings) -> None:
    start = (datetime.now(UTC) - timedelta(days=40)).replace(minute=0, second=0, microsecond=0)
    figures(cli, settings, start)
    planned = json.loads(cli("prune", "--keep", "365d", "--dry-run", "--json").stdout)
    assert planned["risk"] == [{"group": "g1", "venue": "simulated", "rows": 177}]
    assert dict(rows(settings, COUNTS)) == {"15m": 179, "1h": 179, "24h": 179}
    cli("prune", "--keep", "365d")
    assert dict(rows(settings, COUNTS)) == {"15m": 179, "1h": 179, "24h": 2}
    cli("verify")
    assert json.loads(cli("prune", "--keep", "365d", "--json").stdout)["risk"] == []


def test_figures_older_than_the_limit_are_dropped(cli: Cli, settings: Settings) -> None:
    start = (datetime.now(UTC) - timedelta(days=5)).replace(second=0, microsecond=0)
    figures(cli, settings, start)
    assert "537 rows of crypto_risk" in cli("prune", "--keep", "365d", "--keep-risk", "2d").stdout
    assert rows(settings, COUNTS) == []
    cli("verify")


def test_a_limit_below_a_day_is_refused(cli: Cli) -> None:
    done = cli("prune", "--keep", "30d", "--keep-risk", "1h", code=2)
    assert "--keep-risk" in done.stderr
    assert "keep 1d or more" in done.stderr
