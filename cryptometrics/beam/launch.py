"""Run an `aggregate` job, from checking its name to its summary."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineState

from cryptometrics.beam import read_counts
from cryptometrics.beam.pipeline import Windows
from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psycopg

    from cryptometrics.beam.job import Job

    Show = Callable[[dict[str, int]], None]

COUNTERS = ("ticks", "duplicates", "rejected", "outside", "too_late", "rows")
"""The counters of the summary."""
LOOK_S = 0.2
METRICS_S = 5.0
"""Seconds between two requests for a cluster's counters."""
CANCEL_S = 60.0
"""Seconds a cancelled job may take to end."""
_FLINK = ("PortableRunner", "FlinkRunner")
_FOLLOWING = {
    # Without it Flink's runner may withhold for ever what was emitted before the first checkpoint.
    "--finish_bundle_before_checkpointing": (),
    # The newest checkpoint outlives the job and the cluster, so that another run can continue from it.
    "--externalized_checkpoints_enabled": (),
    "--retain_externalized_checkpoints_on_cancellation": (),
    # Turns of partitions end within a second, and are committed before the next ones.
    "--max_bundle_time_mills": ("500",),
}
"""Options of Flink's runner that a job that follows the topic has, unless they are given."""
_UNSET = -1
"""Beam's value of a `--parallelism` that was not given."""
_LOCAL = ("FnApiRunner", "DirectRunner")

_OTHER_SIZE = """
SELECT window_end - window_start FROM crypto_windows
WHERE consumer_group = %s AND name = %s AND window_end - window_start IS DISTINCT FROM %s LIMIT 1
"""


def check_name(connection: psycopg.Connection, job: Job) -> None:
    """Raise UserError if windows of another shape have this name: this run would mix with them."""
    found = connection.execute(_OTHER_SIZE, [job.group, job.name, job.shape.size]).fetchone()
    if found is None:
        return
    if job.shape.gap is not None:
        raise UserError(
            f"group {job.group} already has windows named {job.name}, and sessions may now begin elsewhere: "
            "store these under another name with --into NAME"
        )
    raise UserError(
        f"windows named {job.name} of group {job.group} are {found[0]} long, not {job.shape.size}: "
        "store these under another name with --into NAME"
    )


def options_of(job: Job, arguments: Sequence[str], readers: int | None = None) -> PipelineOptions:
    """Return Beam's options; raise UserError if they do not fit the job.

    readers: of a job that follows the topic; as many tasks of Flink's read, and take part in the rest.
    """
    # Not DirectRunner, which first tries to download another runner.
    given = list(arguments)
    if not any(word == "--runner" or word.startswith("--runner=") for word in given):
        given += ["--runner", "FnApiRunner"]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):  # it prints all of its many options
            options = PipelineOptions(given, streaming=job.follow)
            runner = str(options.view_as(StandardOptions).runner)
    except SystemExit:
        why = said.getvalue().strip().splitlines()[-1:] or [" ".join(arguments)]
        raise UserError(f"Beam does not accept its options: {why[0].rpartition('error: ')[2]}") from None
    names = {word.partition("=")[0] for word in given}
    missing = [word for name, values in _FOLLOWING.items() if name not in names for word in (name, *values)]
    if job.follow and runner.rpartition(".")[2] in _FLINK and missing:
        return options_of(job, [*given, *missing], readers)
    if job.follow and runner.rpartition(".")[2] in _LOCAL:
        raise UserError(
            "--follow needs a streaming runner: name it after --, such as "
            "`-- --runner PortableRunner --job_endpoint HOST:PORT` for Flink"
        )
    if job.follow and readers is not None:
        flink = options.view_as(FlinkRunnerOptions)
        if flink.parallelism not in (None, _UNSET, readers):
            raise UserError(
                f"--readers {readers} and --parallelism {flink.parallelism} contradict: give one of them"
            )
        flink.parallelism = readers
    return options


def run(
    job: Job,
    source: Any,
    options: PipelineOptions,
    *,
    stop: Callable[[], bool],
    show: Show,
    look: Callable[[], dict[str, int]] | None = None,
    poll: Callable[[], None] = lambda: None,
) -> dict[str, int]:
    """Run the pipeline to its end or until `stop`, and return the counters.

    show: called with the counters from time to time. look: returns those of a job that follows the topic,
    which no runner reports before its end. poll: called all the time while such a job runs; must not wait.
    Raises CryptometricsError if the run fails.
    """
    pipeline = beam.Pipeline(options=options)
    pipeline | source | Windows(job)
    shown = threading.Event()
    if not job.follow:
        threading.Thread(target=_show_tally, args=(shown, show), daemon=True).start()
    try:
        # In the main thread, since a portable job can be submitted only there.
        result = pipeline.run()
        if job.follow:
            return _watch(result, stop, show, look, poll)
        result.wait_until_finish()
    except KeyboardInterrupt:
        raise
    except CryptometricsError:
        raise
    except Exception as error:  # a runner wraps its workers' errors in types of its own
        raise _explained(error) from error
    finally:
        shown.set()
    return counters(result)


def counters(result: Any) -> dict[str, int]:
    """Return the counters of a run."""
    found = dict.fromkeys(COUNTERS, 0)
    for each in result.metrics().query()["counters"]:
        if each.key.metric.namespace == "aggregate" and each.key.metric.name in found:
            found[each.key.metric.name] += int(each.committed or each.attempted or 0)
    return found


def _show_tally(done: threading.Event, show: Show) -> None:
    while not done.wait(LOOK_S):
        show(read_counts.total()._asdict())


def _watch(
    result: Any,
    stop: Callable[[], bool],
    show: Show,
    look: Callable[[], dict[str, int]] | None,
    poll: Callable[[], None],
) -> dict[str, int]:
    """Show the progress of a job that follows the topic; on `stop` cancel it and wait for its end."""
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
        poll()
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
    """Return the innermost of our own errors, otherwise the runner's message, in one line."""
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
