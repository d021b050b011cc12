"""`cryptometrics plot`: the files it draws, and its refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.integration.conftest import Store

MAGIC = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}

RECENT = """
SELECT n, now() - n * interval '20 s' AS at, 100 + n % 7 AS bid, 101 + n % 7 AS ask
FROM generate_series(0, 29) AS n
"""


def test_the_default_chart_is_named_after_the_pair(cli: Cli, store: Store) -> None:
    store(RECENT)
    done = cli("plot", "--pair", "BTC-USD")
    assert done.stdout == "charts/BTC-USD.png\n"
    assert done.stderr == "reading group g1, the only one there is\n"
    assert (cli.cwd / "charts/BTC-USD.png").read_bytes().startswith(MAGIC[".png"])


def test_without_a_pair_each_gets_its_chart(cli: Cli, store: Store) -> None:
    store(RECENT)
    store(RECENT, pair="ETH-USD")
    done = cli("plot", "--group", "g1")
    assert done.stdout.splitlines() == ["charts/BTC-USD.png", "charts/ETH-USD.png"]
    assert done.stderr == ""


@pytest.mark.parametrize("suffix", MAGIC)
def test_one_file_holds_all_pairs_in_the_format_of_its_name(cli: Cli, store: Store, suffix: str) -> None:
    store(RECENT)
    store(RECENT, pair="ETH-USD")
    options = ["--pair", "ETH-USD", "--pair", "BTC-USD", "--since", "15m", "--metric", "bid"]
    for name in ("one", "two"):
        assert cli("plot", *options, "--out", name + suffix).stdout == f"{name}{suffix}\n"
    one, two = ((cli.cwd / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert one.startswith(MAGIC[suffix])
    assert not (cli.cwd / "charts").exists()
    if suffix != ".png":
        return
    width, height = (int.from_bytes(two[at : at + 4]) for at in (16, 20))
    assert width > 2 * height


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pair", "NO-USD"], "no ticks of NO-USD in group g1; there is BTC-USD (2024-01-05 10:00:00 to"),
        (["--since", "15m"], "there are some from 2024-01-05 10:00:00 to 2024-01-05 10:00:00 UTC"),
        (["--since", "soon"], "'soon' is no time"),
        (["--since", "1h", "--until", "2h"], "is after --until"),
        (["--metric", "volume"], "'volume' is not one of"),
        (["--out", "chart.bmp"], "must end in .png, .svg or .pdf"),
        (["--out", "missing/chart.png"], "cannot write missing/chart.png: No such file or directory"),
        (["--out", "/proc/chart.png"], "cannot write /proc/chart.png"),
        (["--show"], "--show needs a display"),
    ],
)
def test_mistakes_are_one_line(cli: Cli, store: Store, options: list[str], message: str) -> None:
    store([("2024-01-05 10:00", "100", "101")])
    headless = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "MPLBACKEND": ""}
    done = cli("plot", "--group", "g1", "--pair", "BTC-USD", *options, code=2, env=headless)
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (cli.cwd / "charts").exists()


def test_a_full_disk_is_one_line(cli: Cli, store: Store) -> None:
    store(RECENT)
    (cli.cwd / "chart.svg").write_text("the one before")
    limited = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", sys.executable, "-m", "cryptometrics"]
    done = subprocess.run(
        [*limited, "plot", "--group", "g1", "--out", "chart.svg"],
        cwd=cli.cwd,
        env=cli.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, f"error: cannot write chart.svg: {os.strerror(27)}\n")
    assert [path.name for path in cli.cwd.iterdir()] == ["chart.svg"]
    assert (cli.cwd / "chart.svg").read_text() == "the one before"


def test_too_many_pairs_must_be_named(cli: Cli, store: Store) -> None:
    for n in range(13):
        store([("2024-01-05 10:00", "100", "101")], pair=f"C{n}-USD")
    assert "13 pairs are too many at once; name some with --pair" in cli("plot", code=2).stderr


def test_a_named_session_is_drawn(cli: Cli, store: Store) -> None:
    store([("2024-01-05 10:00", "100", "101")], session="stress test/1")
    store([("2024-01-06 10:00", "100", "101")], session="later")
    assert cli("plot", "--session", "stress test/1").stdout == "charts/BTC-USD.png\n"
