"""Three brokers of Kafka as companies run them: every partition on each, two of them needed for a write."""

from __future__ import annotations

import contextlib
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self, cast

import psutil
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from cryptometrics.local.kafka import HOST, KafkaServer, _free_ports, new_cluster_id
from tests.faults import reassignment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from confluent_kafka.admin import TopicDescription  # type: ignore[attr-defined]  # documented there

IDS = (1, 2, 3)
ANSWER_S = 30.0
LIMIT_S = 60.0
REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


class Cluster:
    """Brokers that are controllers, too; started by entering it, and ended by leaving it."""

    def __init__(self, folder: Path, jar_folder: Path) -> None:
        free = _free_ports(0)
        self._ports = {broker: next(free) for broker in IDS}
        controllers = {broker: next(free) for broker in IDS}
        voters = ",".join(f"{broker}@{HOST}:{port}" for broker, port in controllers.items())
        cluster_id = new_cluster_id()
        self._folders = {broker: folder / str(broker) for broker in IDS}
        self._servers = {
            broker: KafkaServer(
                self._folders[broker],
                jar_folder,
                port,
                cluster_id=cluster_id,
                settings=REPLICATED
                | {
                    "node.id": str(broker),
                    "controller.quorum.voters": voters,
                    "listeners": f"CLIENTS://{HOST}:{port},CONTROLLER://{HOST}:{controllers[broker]}",
                },
            )
            for broker, port in self._ports.items()
        }

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        # Not stopped cleanly: a broker that hands its partitions over waits for the majority.
        self.kill(*(broker for broker, server in self._servers.items() if server.status().running))

    @property
    def address(self) -> str:
        """Bootstrap servers."""
        return ",".join(f"{HOST}:{port}" for port in self._ports.values())

    def up(self) -> None:
        """Start the brokers that do not run, all at the same time: one alone has no quorum to start with."""
        with ThreadPoolExecutor(len(IDS)) as pool:
            for started in [pool.submit(server.up, lambda _text: None) for server in self._servers.values()]:
                started.result()

    def stop(self, broker: int) -> None:
        """Stop a broker as a service manager does: it hands its partitions over first."""
        assert self._servers[broker].down()

    def kill(self, *brokers: int) -> None:
        """`kill -9` of these brokers, at the same time."""
        processes = [psutil.Process(self._pid(broker)) for broker in brokers]
        for process in processes:
            process.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes, LIMIT_S)
        assert not any(self._servers[broker].status().running for broker in brokers)

    def _pid(self, broker: int) -> int:
        pid = self._servers[broker].status().pid
        assert pid is not None, f"broker {broker} does not run"
        return pid

    def controller(self) -> int:
        """Return the active controller, by the newest vote that a broker has on its disk."""
        votes = [(0, -1)]
        for folder in self._folders.values():
            # A file that is being replaced may be missing or incomplete.
            with contextlib.suppress(OSError, ValueError):
                state = json.loads((folder / "data/__cluster_metadata-0/quorum-state").read_text())
                votes.append((state["leaderEpoch"], state["leaderId"]))
        return int(max(votes)[1])

    def has_replaced(self, controller: int) -> bool:
        """Return whether another broker is the active controller."""
        return self.controller() not in (-1, controller)

    def leaders(self, topic: str) -> dict[int, int]:
        """Return the broker that leads each partition; a partition without a leader is left out."""
        partitions = self._describe(topic).partitions
        return {each.id: each.leader.id for each in partitions if each.leader is not None}

    def replicas(self, topic: str) -> dict[int, list[int]]:
        """Return the brokers that have each partition, the preferred leader first."""
        return {each.id: [node.id for node in each.replicas] for each in self._describe(topic).partitions}

    def is_in_sync(self, topic: str) -> bool:
        """Return whether every replica of every partition is in sync; False while Kafka does not answer."""
        try:
            partitions = self._describe(topic).partitions
        except KafkaException:
            return False
        return all(len(each.isr) == len(each.replicas) for each in partitions)

    def has_placed(self, topic: str, replicas: Mapping[int, Sequence[int]]) -> bool:
        """Return whether the partitions have exactly these replicas, all in sync."""
        return self.replicas(topic) == replicas and self.is_in_sync(topic)

    def reassign(self, topic: str, replicas: Mapping[int, Sequence[int]]) -> None:
        """Give each of these partitions other replicas, the preferred leader first."""
        broker = next(broker for broker, server in self._servers.items() if server.status().running)
        reassignment.reassign((HOST, self._ports[broker]), topic, replicas)

    def _describe(self, topic: str) -> TopicDescription:
        # A new client: one that knows a broker as the controller waits for it while it is away.
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        names = TopicCollection([topic])
        found = admin.describe_topics(names, request_timeout=ANSWER_S)[topic].result(ANSWER_S)
        return cast("TopicDescription", found)
