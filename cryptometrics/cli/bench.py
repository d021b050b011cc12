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
        "latency_ms": [
            {"rate": at.rate, "ticks": at.ticks, "p50": at.p50, "p99": at.p99, "max": at.maximum}
            for at in result.latencies
        ],
        "verified": result.verified,
    }


def _show(result: Result) -> None:
    from cryptometrics.cli.output import print_table

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
    if result.latencies:
        percentiles = ("ticks/s", "p50", "p99", "max")
        times = [
            (f"{at.rate:,}", *(f"{time:.1f}" for time in (at.p50, at.p99, at.maximum)))
            for at in result.latencies
        ]
        print_table(percentiles, times, numbers=percentiles, title="from produce to visible, ms")
    click.echo(result.verified)
