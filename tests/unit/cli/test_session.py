"""The table of sessions uses the width that there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cryptometrics.cli.session import ALL, FLAT, KEYS, STACKS, TALL, show
from cryptometrics.store.stored_sessions import SessionRow

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def row(pair: str, price: str, *, begins: datetime = NOON - timedelta(hours=1)) -> SessionRow:
    bid = Decimal(price)
    return SessionRow(
        venue="coinbase",
        pair=pair,
        session="2026-07-01",
        consumer_group="g1",
        ticks=1_234_567,
        late=12,
        bid=bid,
        ask=bid + 1,
        highest_bid=bid + 10,
        highest_bid_at=NOON,
        lowest_ask=bid - 10,
        lowest_ask_at=NOON,
        max_spread=Decimal("1.5"),
        max_spread_at=NOON,
        first_at=begins,
        last_at=NOON,
        bid_size=Decimal("0.5"),
        ask_size=Decimal(2),
    )


def printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, *rows: SessionRow
) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    show(rows, {})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    return [line.strip() for line in lines if line.strip()]


HEADS = {
    240: " ".join(ALL),
    190: " ".join(FLAT),
    100: "pair ticks bid mid highest bid lowest ask max spread vol 24h",
    70: "pair bid highest bid lowest ask max spread vol 24h",
}


@pytest.mark.parametrize("columns", HEADS)
def test_each_value_has_its_own_column_where_there_is_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    lines = printed(capsys, monkeypatch, columns, row("BTC-USD", "64250.02"), row("ETH-USD", "3120.10"))
    assert " ".join(lines[0].split()) == HEADS[columns]
    for value in ("BTC-USD", "2026-07-01", "64,250.02", "64,251.02", "1,234,567", "12:00:00", "ETH-USD"):
        assert any(value in line for line in lines), value


@pytest.mark.parametrize("columns", [250, 190, 80, 70, 50, 30])
def test_times_of_a_session_of_several_days_have_their_day(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    rows = row("BTC-USD", "64250.02", begins=NOON - timedelta(days=2)), row("ETH-USD", "3120.10")
    lines = printed(capsys, monkeypatch, columns, *rows)
    assert "\n".join(lines).count("07-01 12:00:00") == 2 * len(("last", "highest", "lowest", "widest"))


def test_every_form_has_the_same_values() -> None:
    flat = {key for keys in FLAT.values() for key in keys}
    assert {key for keys in STACKS.values() for key in keys} == flat
    assert {key for keys in TALL.values() for key in keys} == flat | {"late", "first_at"}
    assert {"venue", "consumer_group"} | {key for keys in ALL.values() for key in keys} == {*KEYS}
