"""Exported files as other programs read them: DuckDB and polars, exact prices, each compression."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.database import rows

if TYPE_CHECKING:
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.conftest import Cli
    from tests.integration.conftest import Store

BIDS = ("12345678901234567890.123456789012345678", "0.000000000000000001", "64870.10")
QUOTES = [(f"2026-01-05 00:00:0{n}.5", bid, bid) for n, bid in enumerate(BIDS)]
RECORDS = """
INSERT INTO metric_days VALUES ('g1', 't', 0, '2026-01-05', 0, 2, 3);
INSERT INTO crypto_risk (consumer_group, venue, pair, range, as_of, minutes, minutes_with_ticks, coverage,
    gap_minutes, volatility)
VALUES ('g1', 'coinbase', 'BTC-USD', '24h', '2026-01-05 00:01Z', 1440, 1, 0.1, 0, 0.25);
INSERT INTO alerts (consumer_group, rule, kind, venue, pair, severity, level, value, message, started_at,
    fired_at, channels)
VALUES ('g1', '=1+1', 'spread_bps', 'coinbase', 'BTC-USD', 'warning', 5, 7.25, E'two\nlines, "quoted"',
    '2026-01-05Z', '2026-01-05 00:00:01Z', '{desk,mail}');
INSERT INTO portfolio_risk (portfolio, version, consumer_group, as_of, venue, currency, value, unmarked,
    positions, cash, limits)
VALUES ('fund', 1, 'g1', '2026-01-05 00:01Z', 'coinbase', 'USD', 10.5, 0, '[{"asset": "BTC"}]', '[]', '[]'),
       ('other', 1, 'g1', '2026-01-05 00:01Z', 'coinbase', 'USD', NULL, 1, '[]', '[]', '[]');
"""


@pytest.fixture
def filled(settings: Settings, store: Store, cli: Cli) -> Cli:
    """Return a runner of commands on a database with three quotes at the limits, and a row of each kind."""
    store(QUOTES)
    with psycopg.connect(settings.postgres()) as connection:
        connection.execute(RECORDS.encode())
    return cli


def test_parquet_is_exact_and_others_read_it(filled: Cli) -> None:
    filled("export", "--out", "quotes.parquet")
    path = filled.cwd / "quotes.parquet"
    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    assert schema.field("bid").type == pa.decimal128(38, 18)
    assert schema.field("bid_size").type == pa.decimal128(38, 18)
    assert schema.field("quoted_at").type == pa.timestamp("us", tz="UTC")
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    exact = [Decimal(bid) for bid in BIDS]
    assert file.read().column("bid").to_pylist() == exact
    assert pl.read_parquet(path)["bid"].to_list() == exact
    found = duckdb_rows(f"SELECT bid, epoch_us(quoted_at) % 1000000 FROM '{path}' ORDER BY quoted_at")
    assert found == [(bid, 500_000) for bid in exact]


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.zst", "jsonl", "jsonl.gz", "jsonl.zst"])
def test_each_form_of_text_has_the_same_rows(filled: Cli, suffix: str) -> None:
    path = filled.cwd / f"quotes.{suffix}"
    filled("export", "--out", path.name)
    assert path.read_bytes()[:2] == {"gz": b"\x1f\x8b", "zst": b"\x28\xb5"}.get(
        suffix.rpartition(".")[2], path.read_bytes()[:2]
    )
    text = duckdb_rows(
        f"SELECT quoted_at, bid FROM {'read_csv' if 'csv' in suffix else 'read_json'}('{path}', "
        f"{'all_varchar = true' if 'csv' in suffix else 'columns = {quoted_at: VARCHAR, bid: VARCHAR}'})"
    )
    assert text == [(f"2026-01-05T00:00:0{n}.500000Z", bid) for n, bid in enumerate(BIDS)]
    if "csv" in suffix:
        assert pl.read_csv(path, infer_schema=False)["bid"].to_list() == list(BIDS)
    elif suffix == "jsonl.gz":
        with gzip.open(path) as lines:
            assert [json.loads(line)["bid"] for line in lines] == list(BIDS)


def test_rows_of_one_portfolio(settings: Settings, filled: Cli) -> None:
    with psycopg.connect(settings.postgres()) as connection:  # in another group, with a newer row
        connection.execute(
            "INSERT INTO portfolio_risk (portfolio, version, consumer_group, as_of, venue, currency,"
            " unmarked, positions, cash, limits)"
            " VALUES ('=1+1', 3, 'g2', '2026-01-05 00:02Z', 'coinbase', 'USD', 0,"
            " '[]', '[]', '[]')"
        )
    line = filled("export", "--portfolio", "fund", "--format", "jsonl").stdout
    fund = json.loads(line)
    assert (fund["portfolio"], fund["value"], fund["positions"]) == ("fund", "10.5", [{"asset": "BTC"}])
    done = filled("export", "--portfolio", "=1+1")
    assert done.stdout.splitlines()[1].startswith("'=1+1,3,g2,")
    assert done.stderr == "1 rows of portfolios\n"
    assert len(filled("export", "--portfolio", "fund", "--portfolio", "other").stdout.splitlines()) == 3
    apart = filled("export", "--portfolio", "fund", "--portfolio", "=1+1", code=2).stderr
    assert "these portfolios belong to the groups g1, g2: give one with --group" in apart
    unknown = filled("export", "--portfolio", "x", code=2).stderr
    assert "portfolio x has no stored figures; there are =1+1, fund, other" in unknown
    wrong = filled("export", "--portfolio", "fund", "--what", "alerts", code=2).stderr
    assert "--portfolio does not go with --what alerts" in wrong


@pytest.mark.parametrize(
    ("what", "relation"),
    [
        ("risk", "crypto_risk"),
        ("portfolio", "portfolio_risk"),
        ("alerts", "alerts"),
        ("gaps", "feed_gaps"),
        ("candles", "crypto_windows_1m"),
    ],
)
def test_each_kind_has_the_columns_of_its_table(
    settings: Settings, filled: Cli, what: str, relation: str
) -> None:
    columns = [
        name
        for (name,) in rows(
            settings,
            "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
            "AND NOT attisdropped ORDER BY attnum",
            relation,
        )
    ]
    stored = rows(settings, f"SELECT count(*) FROM {relation}")[0][0]
    for suffix in ("csv", "jsonl", "parquet"):
        filled("export", "--what", what, "--out", f"{what}.{suffix}")
    table = pq.read_table(filled.cwd / f"{what}.parquet")
    assert table.column_names == columns
    assert table.num_rows == stored
    with (filled.cwd / f"{what}.csv").open(newline="") as file:
        cells = list(csv.reader(file))
    assert cells[0] == columns
    assert len(cells) == stored + 1
    lines = (filled.cwd / f"{what}.jsonl").read_text().splitlines()
    assert [list(json.loads(line)) for line in lines] == [columns] * stored


def test_text_is_a_formula_for_no_spreadsheet_and_unchanged_elsewhere(filled: Cli) -> None:
    for suffix in ("csv", "jsonl", "parquet"):
        filled("export", "--what", "alerts", "--out", f"a.{suffix}")
    with (filled.cwd / "a.csv").open(newline="") as file:
        (cells,) = csv.DictReader(file)
    assert cells["rule"] == "'=1+1"
    parsed = json.loads((filled.cwd / "a.jsonl").read_text())
    (row,) = pq.read_table(filled.cwd / "a.parquet").to_pylist()
    for found in (parsed, row):
        assert found["rule"] == "=1+1"
        assert found["message"] == 'two\nlines, "quoted"'
        assert found["resolved_message"] is None
    assert (row["level"], row["value"]) == (Decimal(5), Decimal("7.25"))


def test_positions_are_json(filled: Cli) -> None:
    filled("export", "--what", "portfolio", "--out", "p.jsonl")
    first, second = map(json.loads, (filled.cwd / "p.jsonl").read_text().splitlines())
    assert first["positions"] == [{"asset": "BTC"}]
    assert (first["value"], second["value"]) == ("10.5", None)


def test_mistakes_are_one_line_and_leave_no_file(settings: Settings, filled: Cli) -> None:
    assert "must end in .csv or .jsonl" in filled("export", "--out", "a.xlsx", code=2).stderr
    assert "--interval goes with" in filled("export", "--interval", "1h", code=2).stderr
    with psycopg.connect(settings.postgres()) as connection:
        connection.execute("UPDATE portfolio_risk SET value = 1e21")
    found = filled("export", "--what", "portfolio", "--out", "p.parquet", code=2).stderr
    assert "more than 20 digits before the point" in found
    assert not list(filled.cwd.iterdir())


def test_without_pyarrow_a_line_says_what_to_install(filled: Cli) -> None:
    program = (
        "import sys\n"
        "sys.modules['pyarrow'] = None\n"
        "from cryptometrics.cli import _run\n"
        "sys.exit(_run(['export', '--out', sys.argv[1]]))\n"
    )
    for name in ("a.parquet", "a.csv.zst"):
        done = run(filled, program, name)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "cryptometrics[data]" in done.stderr
    assert run(filled, program, "a.csv.gz").returncode == 0


def test_parquet_takes_flat_memory(settings: Settings, store: Store, cli: Cli) -> None:
    program = (
        "import resource, sys\n"
        "from cryptometrics.cli import _run\n"
        "code = _run(['export', '--out', sys.argv[1]])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        "sys.exit(code)\n"
    )

    def peak_kib(path: Path) -> int:
        return int(run(cli, program, str(path)).stdout) // (1024 if sys.platform == "darwin" else 1)

    at = "timestamptz '2026-01-05Z' + n * interval '100 ms'"
    for first, last in ((1, 150_000), (150_001, 600_000)):
        store(
            f"SELECT n, {at} AS at, 100 AS bid, 101 AS ask FROM generate_series({first}, {last}) AS n",
            session=str(first),
        )
        with psycopg.connect(settings.postgres()) as connection:
            connection.execute("DELETE FROM metric_days")
            connection.execute(
                "INSERT INTO metric_days VALUES ('g1', 't', 0, '2026-01-05', 0, %(n)s, %(n)s)", {"n": last}
            )
        if first == 1:
            few = peak_kib(cli.cwd / "few.parquet")
    many = peak_kib(cli.cwd / "many.parquet")
    assert pq.ParquetFile(cli.cwd / "many.parquet").metadata.num_rows == 600_000
    assert many - few < 60 * 1024


def run(cli: Cli, program: str, argument: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, argument],
        cwd=cli.cwd, env=cli.environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def duckdb_rows(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(query).fetchall()
