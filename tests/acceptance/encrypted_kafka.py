"""A real broker with encrypted listeners: one for each valid or invalid configuration."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented there
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from cryptometrics.local import jars, java
from cryptometrics.local.kafka import _free_ports, _java
from tests.acceptance.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"
USER, PASSWORD = "ana", "hunter2-kafka"
KEY_PASSWORD = "hunter2-key"
LIMIT_S = 60.0

# name → protocol; what each listener's certificate is stands in `_properties`
LISTENERS = {
    "PLAIN": "PLAINTEXT",
    "LOGIN": "SASL_SSL",
    "MUTUAL": "SSL",
    "EXPIRED": "SSL",
    "MISNAMED": "SSL",
}

_COMMON = """
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
log.dirs=data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
ssl.keystore.type=PEM
ssl.truststore.type=PEM
listener.name.mutual.ssl.client.auth=required
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
listener.name.login.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
"""
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


@dataclass(frozen=True)
class Broker:
    """How the broker is reached, and the files that a client needs."""

    ports: dict[str, int]
    authority: Path
    foreign_authority: Path
    client: tuple[Path, Path]
    """Certificate and key; the key has KEY_PASSWORD."""
    foreign_client: tuple[Path, Path]
    expired_client: tuple[Path, Path]

    def address(self, listener: str) -> str:
        return f"{HOST}:{self.ports[listener]}"

    def allow(self, topic: str, *groups: str) -> None:
        """Give USER what docs/security.md says that a user needs, as an administrator does."""
        admin = AdminClient({"bootstrap.servers": self.address("PLAIN")})
        operations = (AclOperation.CREATE, AclOperation.WRITE, AclOperation.READ)
        acls = [_acl(ResourceType.TOPIC, topic, operation) for operation in operations]
        acls += [_acl(ResourceType.GROUP, group, AclOperation.READ) for group in groups]
        for future in admin.create_acls(acls).values():
            future.result(LIMIT_S)

    def forbid_reading(self, topic: str) -> None:
        """Take USER's right to read the topic."""
        admin = AdminClient({"bootstrap.servers": self.address("PLAIN")})
        acl = _acl(ResourceType.TOPIC, topic, AclOperation.READ)
        for future in admin.delete_acls([_filter(acl)]).values():
            assert len(future.result(LIMIT_S)) == 1


@contextlib.contextmanager
def broker(folder: Path, jar_folder: Path) -> Iterator[Broker]:
    """Run the broker in an empty folder, with a user USER who logs in with PASSWORD."""
    ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
    good = _key_store(*ours.certificate("good", HOST))
    stores = {
        "login": good,
        "mutual": good,
        "expired": _key_store(*ours.certificate("expired", HOST, expired=True)),
        "misnamed": _key_store(*ours.certificate("misnamed", "kafka.example")),
    }
    free = _free_ports(0)
    ports = {name: next(free) for name in (*LISTENERS, "CONTROLLER")}
    places = [f"{name}://{HOST}:{port}" for name, port in ports.items()]
    lines = [
        _COMMON,
        f"controller.quorum.voters=1@{HOST}:{ports['CONTROLLER']}",
        f"listeners={','.join(places)}",
        f"advertised.listeners={','.join(places[:-1])}",
        "listener.security.protocol.map="
        + ",".join(
            f"{name}:{protocol}" for name, protocol in (LISTENERS | {"CONTROLLER": "PLAINTEXT"}).items()
        ),
        *(f"listener.name.{name}.ssl.keystore.location={store}" for name, store in stores.items()),
        f"ssl.truststore.location={ours.file}",
        f"listener.name.login.scram-sha-512.sasl.jaas.config={_SCRAM}",
        f'listener.name.login.plain.sasl.jaas.config={_PLAIN} user_{USER}="{PASSWORD}";',
    ]
    (folder / "server.properties").write_text("\n".join(lines))
    command = _java(java.find(), jars.ensure(jar_folder, lambda _text: None))
    scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
    tool = ["-Xmx128m", "kafka.tools.StorageTool", "format", "-t", "C" * 22, "-c", "server.properties"]
    (folder / "tmp").mkdir()
    subprocess.run(
        [*command, *tool, "--add-scram", scram], cwd=folder, check=True, capture_output=True, timeout=LIMIT_S
    )
    with (folder / "console.log").open("wb") as console:
        process = subprocess.Popen(
            [*command, "-Xmx256m", "kafka.Kafka", "server.properties"],
            cwd=folder,
            stdout=console,
            stderr=console,
        )
    try:
        yield Broker(
            ports,
            ours.file,
            theirs.file,
            ours.certificate("client", "client.example", password=KEY_PASSWORD),
            theirs.certificate("client", "client.example"),
            ours.certificate("expired-client", "client.example", expired=True),
        )
    finally:
        process.kill()
        process.wait(LIMIT_S)


def _acl(kind: ResourceType, name: str, operation: AclOperation) -> AclBinding:
    return AclBinding(
        kind, name, ResourcePatternType.LITERAL, f"User:{USER}", "*", operation, AclPermissionType.ALLOW
    )


def _filter(acl: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        acl.restype, acl.name, acl.resource_pattern_type, acl.principal, acl.host, acl.operation,
        acl.permission_type,
    )  # fmt: skip


def _key_store(certificate: Path, key: Path) -> Path:
    """Return a PEM key store as Kafka reads it: the key, then the certificate."""
    store = certificate.with_suffix(".store")
    store.write_bytes(key.read_bytes() + certificate.read_bytes())
    store.chmod(0o600)
    return store
