"""`cryptometrics aggregate` on FnApiRunner: every way to a window agrees with one SQL query."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from cryptometrics.beam.job import Job, Shape
from cryptometrics.beam.kafka_source import FromKafka
from cryptometrics.beam.launch import check_name, options_of, run
from cryptometrics.beam.offset_ranges import OffsetRange, topic_shares
from cryptometrics.beam.pipeline import Windows
from cryptometrics.beam.postgres_source import FromPostgres
from cryptometrics.cli.output import exact
from cryptometrics.errors import UserError
from cryptometrics.market.windows import MINUTE
from tests.conftest import environment_of
from tests.database import rows
from tests.late_stream import publish_late
from tests.true_windows import COLUMNS, TRUE_WINDOWS, differing_minutes, differing_windows

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.config import Settings
    from tests.conftest import Cli

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Beam's imports warn of their own

TICKS = 20_000
START = datetime(2026, 6, 30, 23, 40, tzinfo=UTC)
GAP = timedelta(seconds=30)

SESSIONS = """
SELECT pair, min(timestamp), max(timestamp) + %(gap)s, count(*), sum(spread)
FROM (
    SELECT *, sum(begins::int) OVER (PARTITION BY pair ORDER BY timestamp, kafka_offset) AS number
    FROM (
        SELECT *, coalesce(timestamp - lag(timestamp) OVER (
            PARTITION BY pair ORDER BY timestamp, kafka_offset) >= %(gap)s, true) AS begins
        FROM crypto_metrics WHERE consumer_group = 'g1'
    ) AS ticks
) AS numbered
GROUP BY pair, number ORDER BY pair, min(timestamp)
"""


@pytest.fixture
def _configured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what Beam runs in this process find the services."""
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_configured")
def test_process_topic_and_history_give_the_same_windows(
    cli: Cli, settings: Settings, connection: psycopg.Connection
) -> None:
    cli("init-db", "--partitions", "3")
    publish_late(settings, TICKS, START, timedelta(milliseconds=200))
    stored = cli("process", "--group", "g1", "--until-caught-up", "--batch", "3000").stdout
    assert differing_windows(connection, "g1", "1m", MINUTE) == []

    def aggregate(shape: Shape, name: str, source: str = "kafka", **bounds: datetime) -> dict[str, int]:
        job = Job("g1", name, shape, timedelta(), **bounds)  # type: ignore[arg-type]
        check_name(connection, job)
        origin = FromKafka(job, topic_shares(settings, job)) if source == "kafka" else FromPostgres(job)
        return run(job, origin, options_of(job, []), stop=lambda: False, show=lambda _: None)

    for source in ("kafka", "postgres"):
        found = aggregate(Shape(MINUTE), source, source)
        assert differing_windows(connection, "g1", source, MINUTE) == []
        assert f"{found['ticks']:,} stored, " in stored
        if source == "kafka":
            assert f"{found['rejected']:,} rejected, {found['duplicates']:,} duplicates" in stored
            assert found["rejected"] > 0 < found["duplicates"]
    # Again: nothing changes, not even when it was changed last.
    before = connection.execute("SELECT max(updated_at) FROM crypto_windows WHERE name = 'kafka'").fetchone()
    aggregate(Shape(MINUTE), "kafka")
    assert (
        before
        == connection.execute("SELECT max(updated_at) FROM crypto_windows WHERE name = 'kafka'").fetchone()
    )

    size, slide = 10 * MINUTE, 4 * MINUTE
    aggregate(Shape(size, slide), "sliding")
    assert differing_windows(connection, "g1", "sliding", size, slide) == []
    with pytest.raises(UserError, match="are 0:10:00 long, not 0:05:00"):
        aggregate(Shape(5 * MINUTE), "sliding")

    # A range of event time: the windows are those of the ticks in it.
    since, until = START + 15 * MINUTE, START + 25 * MINUTE
    for source in ("kafka", "postgres"):
        aggregate(Shape(5 * MINUTE), f"range-{source}", source, since=since, until=until)
        within = "WHERE timestamp >= %(since)s AND timestamp < %(until)s AND start +"
        truth = TRUE_WINDOWS.replace("WHERE start +", within)
        wrong = differing_windows(
            connection, "g1", f"range-{source}", 5 * MINUTE, truth=truth,
            parameters={"since": since, "until": until},
        )  # fmt: skip
        assert wrong == []

    for source in ("kafka", "postgres"):
        aggregate(Shape(None, gap=GAP), f"sessions-{source}", source)
        columns = "pair, window_start, window_end, ticks, spread_sum"
        rows = connection.execute(
            f"SELECT {columns} FROM crypto_windows WHERE name = %s ORDER BY 1, 2", [f"sessions-{source}"]
        ).fetchall()
        assert rows == connection.execute(SESSIONS, {"gap": GAP}).fetchall()
    difference = connection.execute(
        f"""SELECT {COLUMNS} FROM crypto_windows WHERE name = 'sessions-kafka'
        EXCEPT SELECT {COLUMNS} FROM crypto_windows WHERE name = 'sessions-postgres'"""
    ).fetchall()
    assert difference == []
    with pytest.raises(UserError, match="sessions may now begin elsewhere"):
        aggregate(Shape(None, gap=GAP), "sessions-kafka")


@pytest.mark.usefixtures("_configured")
def test_only_windows_that_were_read_whole_are_written(
    cli: Cli, settings: Settings, connection: psycopg.Connection
) -> None:
    cli("init-db", "--partitions", "2")
    publish_late(settings, 6_000, START, timedelta(milliseconds=200))
    cli("process", "--group", "g1", "--until-caught-up")
    size, slide = 5 * MINUTE, 2 * MINUTE

    def aggregate(job: Job, source: str = "kafka", **offsets: int) -> None:
        origin = (
            FromKafka(job, topic_shares(settings, job, **offsets)) if source == "kafka" else FromPostgres(job)
        )
        run(job, origin, options_of(job, []), stop=lambda: False, show=lambda _: None)

    def starts(name: str, which: str = "true") -> list[float]:
        found = connection.execute(
            f"SELECT DISTINCT window_start FROM crypto_windows WHERE name = %s AND {which} ORDER BY 1", [name]
        )
        return [(start - START) / MINUTE for (start,) in found]

    # What has not ended when the run begins is not complete, though it is read to its end.
    whole = Job("g1", "5m", Shape(size), timedelta(), begun=START + 12 * MINUTE)
    for source in ("kafka", "postgres"):
        aggregate(replace(whole, name=source), source)
        assert starts(source, "complete") == [0, 5]
        assert starts(source, "NOT complete") == [10, 15]
    aggregate(whole)
    aggregate(replace(whole, name="sliding", shape=Shape(size, slide)))

    # Of the first and the last window these bounds leave a part.
    cut = replace(whole, since=START + 2.5 * MINUTE, until=START + 13 * MINUTE)
    for source in ("kafka", "postgres"):
        aggregate(replace(cut, name=f"cut-{source}"), source)
        assert starts(f"cut-{source}") == [5]
    aggregate(replace(cut, name="cut-sliding", shape=Shape(size, slide)))
    assert starts("cut-sliding") == [4, 6, 8]
    aggregate(cut)
    aggregate(whole, first=900, last=1_500)
    assert differing_windows(connection, "g1", "5m", size) == []


@pytest.mark.usefixtures("_configured")
def test_following_gives_the_windows_of_process_in_every_column(
    cli: Cli, settings: Settings, connection: psycopg.Connection
) -> None:
    cli("init-db", "--partitions", "3")
    publish_late(settings, TICKS, START, timedelta(milliseconds=200), venues=("simulated", "coinbase"))
    cli("process", "--group", "g1", "--until-caught-up")
    # What a cluster runs, on a runner that can carry it to an end.
    job = Job("g1", "followed", Shape(MINUTE), timedelta(minutes=15), follow=True)
    ended = topic_shares(settings, replace(job, follow=False))
    with beam.Pipeline(options=PipelineOptions(["--runner", "FnApiRunner"])) as pipeline:
        pipeline | FromKafka(job, ended) | Windows(job)
    assert differing_windows(connection, "g1", "followed", MINUTE) == []
    assert differing_minutes(connection, "followed") == 0
    kinds = rows(settings, "SELECT DISTINCT venue, complete FROM crypto_windows WHERE name = 'followed'")
    assert sorted(kinds) == [("coinbase", True), ("simulated", True)]


def test_an_offset_that_no_partition_has_yet_is_its_end_also_to_follow(cli: Cli, settings: Settings) -> None:
    cli("init-db", "--partitions", "2")
    publish_late(settings, 1_000, START, timedelta(milliseconds=200))
    job = Job("g1", "5m", Shape(5 * MINUTE), timedelta(), follow=True)
    ends = {each.partition: each.end for each in _ranges(settings, replace(job, follow=False))}
    begins = {each.partition: each.start for each in _ranges(settings, job, first=10**9)}
    assert begins == ends


def _ranges(settings: Settings, job: Job, **bounds: int) -> list[OffsetRange]:
    return [each for reader in topic_shares(settings, job, **bounds) for each in reader.ranges]


def test_the_command_says_what_it_did(cli: Cli, settings: Settings) -> None:
    cli("init-db", "--partitions", "2")
    publish_late(settings, 1_000, START, timedelta(milliseconds=200))
    done = cli("aggregate", "--window", "5m", "--group", "g2", "--from", "100", "--until", "300", "--json")
    found = json.loads(done.stdout)
    assert (found["group"], found["name"]) == ("g2", "5m")
    assert sum(found[name] for name in ("ticks", "rejected", "duplicates")) == 400
    assert "Traceback" not in done.stderr
    query = """
        SELECT venue, pair, count(*), count(*) FILTER (WHERE complete), min(window_start), max(window_end)
        FROM crypto_windows WHERE name = '5m' GROUP BY venue, pair ORDER BY pair
    """
    stored = [tuple(map(exact, row)) for row in rows(settings, query)]
    assert [tuple(each.values()) for each in found["windows"]] == stored
    assert list(found["windows"][0]) == ["venue", "pair", "windows", "complete", "from", "until"]
    assert sum(each["windows"] for each in found["windows"]) == found["rows"] > 0

    again = cli("aggregate", "--window", "5m", "--group", "g2", "--from", "100", "--until", "300")
    assert again.stdout.endswith("\nno window has changed: all of them were stored already\n")
    whole = cli("aggregate", "--window", "5m", "--group", "g2", "--into", "mine").stdout
    assert whole.startswith("group g2, windows mine: ")
    heads, *lines = whole.splitlines()[1:]
    assert heads.split() == ["venue", "pair", "windows", "complete", "from", "until"]
    assert [line.split()[1] for line in lines] == [pair for _, pair, *_ in stored]


def test_a_run_that_reads_nothing_is_a_mistake(cli: Cli, settings: Settings) -> None:
    cli("init-db", "--partitions", "1")
    arguments = ("aggregate", "--window", "5m", "--group", "g1")
    empty = cli(*arguments, code=2).stderr
    assert empty == f"error: the topic {settings.kafka_topic} has no records in these bounds\n"
    cli("simulate", "--rate", "0", "--count", "10", "--start", "1h")
    cli("process", "--group", "g1", "--until-caught-up")
    done = cli(*arguments, "--source", "postgres", "--until", "2h", code=2)
    assert (done.stdout, done.stderr) == ("", "error: group g1 has stored no ticks in these bounds\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give the windows with --window 5m, or with --gap 30s for sessions"),
        (["--window", "1m"], "windows named 1m belong to `process`"),
        (["--window", "5m", "--into", "1m"], "windows named 1m belong to `process`"),
        (["--window", "5m", "--gap", "3s"], "--gap makes session windows"),
        (["--window", "5m", "--slide", "6m"], "--slide is longer than --window"),
        (["--window", "five"], "'five' is not a duration"),
        (["--gap", "30s", "--follow"], "--gap cannot be combined with --follow"),
        (["--window", "5m", "--follow", "--source", "postgres"], "--follow reads the topic"),
        (["--window", "5m", "--source", "postgres", "--from", "17"], "offsets are for the topic"),
        (["--window", "5m", "--from", "1h", "--until", "2h"], "is not before --until"),
        (["--window", "5m", "--from", "soon"], "'soon' is not a time"),
    ],
)
def test_mistakes_are_one_line(cli: Cli, options: list[str], message: str) -> None:
    done = cli("aggregate", *options, code=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_beam_it_says_how_to_get_it(cli: Cli) -> None:
    (cli.cwd / "apache_beam").mkdir()
    hide = "import sys; sys.modules['apache_beam'] = None\n"
    (cli.cwd / "sitecustomize.py").write_text(hide)
    done = cli("aggregate", "--window", "5m", code=2, env={"PYTHONPATH": str(cli.cwd)})
    assert "aggregate needs Apache Beam: pip install 'cryptometrics[beam]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_to_follow_it_needs_a_runner_that_streams(cli: Cli) -> None:
    assert (
        "--follow needs a streaming runner" in cli("aggregate", "--window", "5m", "--follow", code=2).stderr
    )
