"""A run of `aggregate`, from the check of its name to its summary."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineState

from cryptometrics.beam import read_counts
from cryptometrics.beam.pipeline import Windows
from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import psycopg

    from cryptometrics.beam.job import Job

    Show = Callable[[dict[str, int]], None]

COUNTERS = ("ticks", "duplicates", "rejected", "outside", "too_late", "rows")
"""What is counted, and told in the end."""
LOOK_S = 0.2
METRICS_S = 5.0
"""How often a cluster is asked for its counters."""
CANCEL_S = 60.0
"""How long a cancelled job may take to end."""
_FLINK = ("PortableRunner", "FlinkRunner")
_FINISH = "--finish_bundle_before_checkpointing"
_LOCAL = ("FnApiRunner", "DirectRunner")

_OTHER_SIZE = """
SELECT window_end - window_start FROM crypto_windows
WHERE consumer_group = %s AND name = %s AND window_end - window_start IS DISTINCT FROM %s LIMIT 1
"""


_WRITTEN = """
SELECT coalesce(sum(ticks), 0)::bigint, count(*),
       (SELECT coalesce(sum(ticks), 0)::bigint FROM crypto_windows_too_late
        WHERE consumer_group = %(group)s AND name = %(name)s)
FROM crypto_windows WHERE consumer_group = %(group)s AND name = %(name)s AND updated_at >= %(begun)s
"""


def check_name(connection: psycopg.Connection, job: Job) -> None:
    """Raise UserError where the name holds windows that this run would not replace but mix with."""
    found = connection.execute(_OTHER_SIZE, [job.group, job.name, job.shape.size]).fetchone()
    if found is None:
        return
    if job.shape.gap is not None:
        raise UserError(
            f"there are windows named {job.name} of group {job.group}, and sessions may begin elsewhere now: "
            "write these under another name, --into NAME"
        )
    raise UserError(
        f"windows named {job.name} of group {job.group} are {found[0]} long, not {job.shape.size}: "
        "write these under another name, --into NAME"
    )


def options_of(job: Job, arguments: Sequence[str]) -> PipelineOptions:
    """Return Beam's options; raise UserError where they do not suit the job."""
    # Not DirectRunner, which would first look for another runner to download.
    given = list(arguments)
    if not any(word == "--runner" or word.startswith("--runner=") for word in given):
        given += ["--runner", "FnApiRunner"]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):  # it would print all of its many options
            options = PipelineOptions(given, streaming=job.follow)
            runner = str(options.view_as(StandardOptions).runner)
    except SystemExit:
        why = said.getvalue().strip().splitlines()[-1:] or [" ".join(arguments)]
        raise UserError(f"Beam does not take its options: {why[0].rpartition('error: ')[2]}") from None
    if job.follow and runner.rpartition(".")[2] in _FLINK and _FINISH not in given:
        # Without it Flink's runner may keep back for ever what was put out before the first checkpoint.
        return options_of(job, [*given, _FINISH])
    if job.follow and runner.rpartition(".")[2] in _LOCAL:
        raise UserError(
            "--follow needs a runner that streams: give it after --, such as "
            "`-- --runner PortableRunner --job_endpoint HOST:PORT` for Flink"
        )
    return options


def run(
    job: Job,
    source: Any,
    options: PipelineOptions,
    *,
    stop: Callable[[], bool],
    show: Show,
    look: Callable[[], dict[str, int]] | None = None,
) -> dict[str, int]:
    """Run the pipeline to its end, or until `stop`; return the counters.

    show: told the counters now and then. look: returns those of an endless job, which no runner tells before
    its end. Raises CryptometricsError when the run fails.
    """
    pipeline = beam.Pipeline(options=options)
    pipeline | source | Windows(job)
    shown = threading.Event()
    if not job.follow:
        threading.Thread(target=_show_tally, args=(shown, show), daemon=True).start()
    try:
        # From the main thread: a portable job is submitted only there.
        result = pipeline.run()
        if job.follow:
            return _watch(result, stop, show, look)
        result.wait_until_finish()
    except KeyboardInterrupt:
        raise
    except CryptometricsError:
        raise
    except Exception as error:  # a runner wraps what happened in its workers in whatever it likes
        raise _explained(error) from error
    finally:
        shown.set()
    return counters(result)


def counters(result: Any) -> dict[str, int]:
    """Return what a run has counted."""
    found = dict.fromkeys(COUNTERS, 0)
    for each in result.metrics().query()["counters"]:
        if each.key.metric.namespace == "aggregate" and each.key.metric.name in found:
            found[each.key.metric.name] += int(each.committed or each.attempted or 0)
    return found


def _show_tally(done: threading.Event, show: Show) -> None:
    while not done.wait(LOOK_S):
        show(read_counts.total()._asdict())


def written(connection: psycopg.Connection, job: Job, begun: datetime) -> dict[str, int]:
    """Return what the windows hold that were written since a job began, and what was too late for them."""
    found = connection.execute(_WRITTEN, {"group": job.group, "name": job.name, "begun": begun}).fetchone()
    return dict.fromkeys(COUNTERS, 0) | dict(zip(("ticks", "rows", "too_late"), found or (), strict=True))


def _watch(
    result: Any, stop: Callable[[], bool], show: Show, look: Callable[[], dict[str, int]] | None
) -> dict[str, int]:
    """Show how an endless job goes; cancel it when asked to stop, and wait until it has ended."""
    latest = dict.fromkeys(COUNTERS, 0)
    next_look = time.monotonic() + METRICS_S
    while not PipelineState.is_terminal(result.state):
        if stop():
            result.cancel()
            deadline = time.monotonic() + CANCEL_S
            while not PipelineState.is_terminal(result.state):
                if time.monotonic() > deadline:
                    raise ServiceUnavailableError(
                        f"the job was still {result.state} {CANCEL_S:.0f} s after it was cancelled"
                    )
                time.sleep(LOOK_S)
            return latest
        if time.monotonic() >= next_look:
            with contextlib.suppress(ServiceUnavailableError):
                latest = look() if look is not None else counters(result)
            next_look = time.monotonic() + METRICS_S
            show(latest)
        time.sleep(LOOK_S)
    if result.state != PipelineState.DONE:
        raise CryptometricsError(f"the job ended as {result.state}: see the log of the cluster")
    return latest


def _explained(error: Exception) -> CryptometricsError:
    """Return the innermost of our own errors, else what the runner says, in one line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, CryptometricsError):
            return cause
        cause = cause.__cause__ or cause.__context__
    if "UNAVAILABLE" in str(error) or type(error).__name__ == "FutureTimeoutError":
        return ServiceUnavailableError(
            "the job server of Beam's runner does not answer: check --job_endpoint"
        )
    lines = [line for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    return CryptometricsError(f"the pipeline failed: {lines[-1]}")
