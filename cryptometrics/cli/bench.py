"""`cryptometrics bench`: throughput and latency of this machine and its services."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options
from cryptometrics.errors import CryptometricsError, UserError

if TYPE_CHECKING:
    from cryptometrics.bench.benchmark import Result


def _seconds(_context: click.Context, _option: click.Parameter, value: float) -> float:
    if 0 < value < 1:
        raise click.BadParameter("0, or 1 and more: the first half second is not measured")
    return value


@click.command()
@click.option(
    "--ticks", type=click.IntRange(20_000, 10_000_000), default=120_000, help="Ticks in the backlog."
)
@click.option("--rounds", type=click.IntRange(1, 20), default=3, help="Measurements of each part.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, 60),
    default=3.0,
    callback=_seconds,
    help="Length of each latency measurement; 0 skips them.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    callback=options.chart,
    help="Also draw a chart: .png, .svg or .pdf.",
)
@options.as_json
def bench(ticks: int, rounds: int, seconds: float, out: Path | None, as_json: bool) -> None:
    """Measure throughput against PostgreSQL's own limit, and latency.

    It uses the configured services, in a schema and a topic of its own, and removes both. Compare the
    ratios: absolute numbers depend on this machine and its load.

    \b
    Example:
      cryptometrics bench
    """
    from confluent_kafka import KafkaException

    from cryptometrics import config, log
    from cryptometrics.bench.benchmark import run
    from cryptometrics.bench.scratch import scratch
    from cryptometrics.cli.connections import wait_for_kafka
    from cryptometrics.cli.progress import Progress
    from cryptometrics.kafka.errors import text
    from cryptometrics.store.database_errors import explaining

    if out is not None and not out.parent.is_dir():  # report it before a minute of work
        raise UserError(f"cannot write {out}: there is no folder {out.parent}")
    settings = config.load()
    wait_for_kafka(settings)
    try:
        with Progress() as progress, explaining(), scratch(settings) as own:
            result = run(own, ticks, rounds, seconds, lambda part: progress.show(f"measuring: {part}"))
    except KafkaException as error:
        raise CryptometricsError(f"Kafka failed during the benchmark: {text(error)}") from None
    if result.busy:
        log.get_logger().warning(
            "machine_busy",
            load=round(result.load, 1),
            cores=result.cores,
            hint="other work distorts the ratios, too",
        )
    if as_json:
        click.echo(json.dumps(_as_dict(result), indent=2))
    else:
        _show(result)
    if out is not None:
        from cryptometrics.bench.chart import draw
        from cryptometrics.cli.chart_files import save

        save(out, draw(result))
        click.echo(f"chart {out}", err=as_json)


def _as_dict(result: Result) -> dict[str, object]:
    alone, with_topic = result.proofs.values()
    return {
        "ticks": result.ticks,
        "cores": result.cores,
        "load_at_start": result.load,
        "throughput": {
            part: {
                "median_per_second": round(statistics.median(rates)),
                "lowest": round(min(rates)),
                "highest": round(max(rates)),
                "ratio_to_limit": round(result.ratio(part), 3),
            }
            for part, rates in result.rates.items()
        },
        "latency_floor_ms": None
        if result.floor is None
        else {"samples": result.floor.samples, "p50": result.floor.p50, "p99": result.floor.p99},
        "latency_ms": [
            {
                "latency": at.budget,
                "rate": at.rate,
                "ticks": at.ticks,
                "p50": at.p50,
                "p99": at.p99,
                "max": at.maximum,
            }
            for at in result.latencies
        ],
        "cpu": [
            {
                "rate": cost.rate,
                "ticks": cost.ticks,
                "seconds": round(cost.seconds, 2),
                "us_per_tick": {name: _rounded(cost.per_tick(name), 1) for name in cost.cpu_seconds},
                "share_of_core": {name: _rounded(cost.share(name), 4) for name in cost.cpu_seconds},
            }
            for cost in result.costs
        ],
        "verify": {
            "offsets": alone.offsets,
            "us_per_offset": round(alone.us_per_offset, 2),
            "us_per_offset_with_topic": round(with_topic.us_per_offset, 2),
        },
        "verified": with_topic.verdict,
    }


def _rounded(value: float | None, places: int) -> float | None:
    """Round a number that may be unknown."""
    return None if value is None else round(value, places)


def _show(result: Result) -> None:
    from cryptometrics.cli.output import NOTHING, print_table

    heads = ("part", "ticks/s", "lowest", "highest", "of the limit")
    rows = [
        (
            part,
            *(f"{rate:,.0f}" for rate in (statistics.median(rates), min(rates), max(rates))),
            f"{result.ratio(part):.2f}",
        )
        for part, rates in result.rates.items()
    ]
    print_table(heads, rows, numbers=heads[1:], title=f"{result.ticks:,} ticks, {result.cores} cores")
    if result.latencies and (floor := result.floor):
        percentiles = ("--latency", "ticks/s", "p50", "p99", "max", "p50 / floor", "p99 / floor")
        times: list[tuple[str, ...]] = [
            ("floor", NOTHING, f"{floor.p50:.1f}", f"{floor.p99:.1f}", NOTHING, "1.0", "1.0")
        ]
        times += [
            (
                *(at.budget, f"{at.rate:,}"),
                *(f"{time:.1f}" for time in (at.p50, at.p99, at.maximum)),
                *(f"{at.p50 / floor.p50:.1f}", f"{at.p99 / floor.p99:.1f}"),
            )
            for at in result.latencies
        ]
        print_table(percentiles, times, numbers=percentiles[1:], title="from produce to visible, ms")
    if result.costs:
        names = list(result.costs[0].cpu_seconds)
        columns = ("ticks/s", *(f"{name}, µs" for name in names), *(f"{name}, %" for name in names))
        costs = [
            (
                f"{cost.rate:,}",
                *(NOTHING if (us := cost.per_tick(name)) is None else f"{us:,.0f}" for name in names),
                *(NOTHING if (share := cost.share(name)) is None else f"{100 * share:.1f}" for name in names),
            )
            for cost in result.costs
        ]
        print_table(
            columns, costs, numbers=columns, title="processor time per tick, and its share of one core"
        )
    alone, with_topic = result.proofs.values()
    click.echo(
        f"verify: {alone.us_per_offset:.1f} µs an offset, with --topic {with_topic.us_per_offset:.1f} µs "
        f"({alone.offsets:,} offsets, its start included)"
    )
    click.echo(with_topic.verdict)
