"""A Beam worker pool that listens on one address: `python pool.py 127.0.0.2:50000`.

Beam's own pool listens on all addresses.
"""

from __future__ import annotations

import signal
import sys
import threading

import grpc  # type: ignore[import-untyped]
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor


def main(address: str) -> None:
    """Start workers, each a process, when a task manager asks for them; end with SIGTERM."""
    server = grpc.server(thread_pool_executor.shared_unbounded_instance())
    if not server.add_insecure_port(address):
        sys.exit(f"{address} is taken")
    pool = BeamFnExternalWorkerPoolServicer(use_process=True)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.start()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
    for worker in pool._worker_processes.values():
        worker.kill()
    server.stop(0)


if __name__ == "__main__":
    main(sys.argv[1])
