"""Replay: recordings with unreadable parts give every quote that is certain, and a gap for the rest."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.database import rows

if TYPE_CHECKING:
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.conftest import Cli

T0 = 1_790_000_000.0
PAIR = "ZRQ-BTC"


def line(at: float, **fields: Any) -> bytes:
    frame = {"product_id": PAIR, **fields}
    return json.dumps({"rx": T0 + at, "frame": frame}).encode() + b"\n"


def snapshot(at: float, bid: str, ask: str) -> bytes:
    return line(at, type="snapshot", bids=[[bid, "1"]], asks=[[ask, "1"]])


def update(at: float, *changes: list[str], **more: str) -> bytes:
    return line(at, type="l2update", changes=changes, **more)


def replayed(cli: Cli, path: Path, code: int = 0) -> dict[str, Any]:
    """Replay a recording of an order book, process it, and return the report."""
    cli("init-db")
    report = cli("replay", path, "--book", "--json", code=code)
    cli("process", "--group", "g1", "--until-caught-up")
    cli("verify", "--topic")
    found: dict[str, Any] = json.loads(report.stdout)
    return found


def quotes(settings: Settings) -> list[tuple[Decimal, Decimal]]:
    return rows(settings, "SELECT bid, ask FROM crypto_metrics ORDER BY kafka_offset")


def gaps(settings: Settings) -> list[tuple[str, float, float]]:
    return rows(
        settings,
        "SELECT kind, extract(epoch FROM begins_at)::float, extract(epoch FROM ends_at)::float "
        "FROM feed_gaps WHERE kind NOT IN ('start', 'end') ORDER BY kafka_offset",
    )


def test_a_book_with_exponents_and_without_times(settings: Settings, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(
        snapshot(0, "0.00005150", "0.00005300")
        + update(1, ["buy", "5.2e-5", "2e1"])
        + update(2, ["sell", "5.25E-5", "1"], time="yesterday")
    )
    report = replayed(cli, path)
    assert quotes(settings) == [
        (Decimal("0.00005150"), Decimal("0.00005300")),
        (Decimal("0.000052"), Decimal("0.00005300")),
        (Decimal("0.000052"), Decimal("0.0000525")),
    ]
    assert gaps(settings) == []
    assert report["pairs"][0]["has_quote"]


def test_an_unreadable_update_ends_the_quotes(settings: Settings, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(
        snapshot(0, "10", "11")
        + update(1, ["buy", "10.5", "one"])
        + update(2, ["buy", "10.6", "1"])
        + snapshot(5, "9", "12")
        + update(6, ["buy", "1e-50", "1"])
        + update(9, ["buy", "9.5", "1"])
    )
    report = replayed(cli, path)
    assert quotes(settings) == [(Decimal(10), Decimal(11)), (Decimal(9), Decimal(12))]
    assert gaps(settings) == [("unreadable", T0 + 1, T0 + 5), ("unreadable", T0 + 6, T0 + 9)]
    assert not report["pairs"][0]["has_quote"]


def test_a_recording_that_leads_to_no_message_is_a_mistake(cli: Cli, tmp_path: Path) -> None:
    cli("init-db", "--partitions", "1")
    path = tmp_path / "r.jsonl"
    path.write_bytes(snapshot(0, "10", "11") + update(1, ["buy", "10.5", "1"]))
    for options in (("--book", "--pair", "BTC-USD"), ()):
        done = cli("replay", path, *options, code=2)
        assert done.stdout.endswith("sent 0, acknowledged 0\n")
        assert done.stderr == (
            f"error: nothing was sent: none of the 2 frames of {path} leads to a quote: "
            "check --pair and --book\n"
        )
    path.write_bytes(json.dumps({"rx": T0, "lost": "down", "pairs": [PAIR]}).encode() + b"\n")
    assert cli("replay", path, code=2).stderr == f"error: nothing was sent: {path} has no frames\n"


@pytest.mark.parametrize("padding", [0, 100_000])
def test_a_damaged_block_is_a_gap_and_an_error(
    settings: Settings, cli: Cli, tmp_path: Path, padding: int
) -> None:
    frames = [snapshot(n, f"{100 + n}", f"{200 + n}") for n in range(1_000)]
    blocks = [bytearray(gzip.compress(b"".join(frames[n : n + 100]))) for n in range(0, 1_000, 100)]
    blocks[2][len(blocks[2]) // 2] ^= 4
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes((b"\0" * padding).join(bytes(block) for block in blocks) + b"\0" * padding)
    cli("init-db")
    done = cli("replay", path, "--book", code=1)
    begin = sum(map(len, blocks[:2])) + 2 * padding
    assert f"bytes {begin:,} to {begin + len(blocks[2]) + padding:,} are damaged" in done.stderr
    assert "cut off" not in done.stderr
    cli("process", "--group", "g1", "--until-caught-up")
    kept = [n for n in range(1_000) if n // 100 != 2]
    assert quotes(settings) == [(Decimal(100 + n), Decimal(200 + n)) for n in kept]
    assert gaps(settings) == [("unreadable", T0 + 199, T0 + 300)]
    cli("verify", "--topic")
