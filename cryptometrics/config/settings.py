"""The settings of the user: environment, then `.env` in the working folder, then defaults.

Connection settings are never options of a command, so that no process list shows a password. Secrets are
`Secret`, which does not print.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cryptometrics.config.endpoints import NotRunningError, endpoints, file_in
from cryptometrics.config.env_file import FILE, KAFKA_CONF, read_file, unknown
from cryptometrics.config.fields import (
    Secret,
    matching,
    one_of,
    parse,
    positive_number,
    setting,
    variable_of,
    whole_number,
)
from cryptometrics.config.latency import DEFAULT_LATENCY_S, parse_latency
from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cryptometrics.config.env_file import UnknownVariable

_FILE = "_file"
"""Suffix of the settings that name a file which holds the secret."""
MAX_SECRET_BYTES = 64 * 1024
"""A larger file is not a secret but something else."""
_CONFIGURED_BY = {
    "kafka": ("Kafka", "KAFKA_BOOTSTRAP_SERVERS"),
    "postgres": ("PostgreSQL", "DATABASE_URL or DB_HOST, DB_NAME, DB_USER and DB_PASSWORD"),
}
"""Title of each service, and the variables that configure another one than the local one."""


def _latency(text: str) -> float:
    """Parse the budget of `process`."""
    try:
        return parse_latency(text)
    except ValueError:  # it quotes the text
        raise ValueError("write 0, or a duration from 5ms to 1s") from None


def _default_home() -> Path:
    # PostgreSQL never runs as root: its own user must reach the data but cannot enter /root.
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "XDG_DATA_HOME" not in os.environ:
        return Path("/var/lib/cryptometrics")
    import platformdirs

    return platformdirs.user_data_path("cryptometrics", appauthor=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Addresses and credentials of Kafka and PostgreSQL, and the paths that commands share.

    A service that is not configured is the one that `cryptometrics up` runs.
    """

    database_url: Secret | None = setting(Secret)
    database_url_file: Path | None = setting(Path)
    db_host: str | None = setting(str)
    db_port: int | None = setting(whole_number(1, 65535))
    db_name: str | None = setting(str)
    db_user: str | None = setting(str)
    db_password: Secret | None = setting(Secret)
    db_password_file: Path | None = setting(Path)
    db_sslmode: str | None = setting(
        one_of(("disable", "allow", "prefer", "require", "verify-ca", "verify-full"))
    )
    db_sslrootcert: Path | None = setting(Path)
    db_sslcert: Path | None = setting(Path)
    db_sslkey: Path | None = setting(Path)

    kafka_bootstrap_servers: str | None = setting(str)
    kafka_topic: str = setting(
        matching(r"[a-zA-Z0-9._-]{1,249}", "write 1 to 249 letters, digits, dots, hyphens or underscores"),
        default="crypto_prices",
    )
    kafka_security_protocol: str | None = setting(one_of(("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")))
    kafka_sasl_mechanism: str | None = setting(one_of(("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")))
    kafka_sasl_username: str | None = setting(str)
    kafka_sasl_password: Secret | None = setting(Secret)
    kafka_sasl_password_file: Path | None = setting(Path)
    kafka_ssl_ca_location: Path | None = setting(Path)
    kafka_ssl_certificate_location: Path | None = setting(Path)
    kafka_ssl_key_location: Path | None = setting(Path)
    kafka_ssl_key_password: Secret | None = setting(Secret)
    kafka_ssl_key_password_file: Path | None = setting(Path)

    home: Path = setting(Path, default_factory=_default_home, variable="CRYPTOMETRICS_HOME")
    """Folder with the state of the local services."""
    wait: float = setting(positive_number, default=30.0, variable="CRYPTOMETRICS_WAIT")
    """Seconds to wait for a service at the start of a command."""
    latency: float = setting(_latency, default=DEFAULT_LATENCY_S, variable="CRYPTOMETRICS_LATENCY")
    """Seconds that a tick may wait for company in `process`."""

    alerts: Path | None = setting(Path, variable="CRYPTOMETRICS_ALERTS")
    """File with the alert rules."""
    webhook_url: Secret | None = setting(Secret, variable="CRYPTOMETRICS_WEBHOOK_URL")
    """URL that receives alerts; it often contains a secret."""
    webhook_url_file: Path | None = setting(Path, variable="CRYPTOMETRICS_WEBHOOK_URL_FILE")
    webhook_format: Literal["generic", "slack"] = setting(
        one_of(("generic", "slack")), default="generic", variable="CRYPTOMETRICS_WEBHOOK_FORMAT"
    )

    web_token: Secret | None = setting(Secret, variable="CRYPTOMETRICS_WEB_TOKEN")
    """Token that a page beyond this machine needs."""
    web_token_file: Path | None = setting(Path, variable="CRYPTOMETRICS_WEB_TOKEN_FILE")

    @classmethod
    def of(cls, variables: Mapping[str, object]) -> Settings:
        """Return the settings with these variables, in capitals or not, and with defaults otherwise.

        Raises UserError that names the variable whose value is not valid.
        """
        given = {name.upper(): str(value) for name, value in variables.items()}
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            name = variable_of(field)
            if name in given:
                try:
                    values[field.name] = parse(field, given[name])
                except ValueError as error:
                    raise UserError(f"{name} is not valid: {error}") from None
            if field.name.endswith(_FILE) and field.name in values:
                secret = field.name.removesuffix(_FILE)
                if secret in values:
                    other = name.removesuffix(_FILE.upper())
                    raise UserError(f"{other} and {name} are both set: remove one of them")
                values[secret] = Secret(_secret_in(values[field.name], name))
        return cls(**values)

    def kafka(self) -> dict[str, str | int | float | bool]:
        """Return librdkafka's connection settings; raise UserError if no broker is configured or running."""
        servers = self.kafka_bootstrap_servers or self._local("kafka")
        conf: dict[str, str | int | float | bool] = {"bootstrap.servers": servers}
        for name in (field.name for field in dataclasses.fields(self)):
            value = getattr(self, name)
            if value is None or not name.startswith(("kafka_security_", "kafka_sasl_", "kafka_ssl_")):
                continue
            if name.endswith(_FILE):
                continue
            text = value.reveal() if isinstance(value, Secret) else str(value)
            conf[name.removeprefix("kafka_").replace("_", ".")] = text
        return conf | self._kafka_conf

    def postgres(self) -> str:
        """Return the connection string with the password; raise UserError if there is no server."""
        from psycopg.conninfo import make_conninfo

        if self.database_url is not None:
            return self.database_url.reveal()
        if not any((self.db_host, self.db_name, self.db_user)):
            return self._local("postgres")
        # libpq adds the port, the encryption and more from its own variables and files, if they are not here.
        names_host = {"PGHOST", "PGHOSTADDR", "PGSERVICE"} & os.environ.keys()
        parts: dict[str, Any] = {
            "host": self.db_host or (None if names_host else "localhost"),
            "port": self.db_port,
            "dbname": self.db_name,
            "user": self.db_user,
            "password": self.db_password.reveal() if self.db_password else None,
            "sslmode": self.db_sslmode,
            "sslrootcert": self.db_sslrootcert,
            "sslcert": self.db_sslcert,
            "sslkey": self.db_sslkey,
        }
        return make_conninfo("", **{name: value for name, value in parts.items() if value is not None})

    @functools.cached_property
    def _kafka_conf(self) -> dict[str, str]:
        """KAFKA_CONF_SOCKET_TIMEOUT_MS=… as {"socket.timeout.ms": …}, from the environment and `.env`."""
        found = {**read_file(), **os.environ}
        return {
            name.removeprefix(KAFKA_CONF).lower().replace("_", "."): value
            for name, value in found.items()
            if name.startswith(KAFKA_CONF) and value
        }

    @property
    def kafka_address(self) -> str:
        """The bootstrap servers, as messages name them."""
        return str(self.kafka()["bootstrap.servers"])

    @property
    def running_kafka(self) -> str | None:
        """The bootstrap servers; None while the local Kafka is stopped: another process may take its port."""
        # A worker asks with each batch, so this reads one small file at most.
        local = self.uses_local_kafka
        servers = endpoints(self.home).running("kafka") if local else self.kafka_bootstrap_servers
        return servers and self._kafka_conf.get("bootstrap.servers", servers)

    @property
    def has_webhook(self) -> bool:
        """Whether alerts are sent to a webhook."""
        return self.webhook_url is not None

    @property
    def uses_local_kafka(self) -> bool:
        """Whether Kafka is the one that `cryptometrics up` runs."""
        return self.kafka_bootstrap_servers is None

    @property
    def uses_local_postgres(self) -> bool:
        """Whether PostgreSQL is the one that `cryptometrics up` runs."""
        return self.database_url is None and not any((self.db_host, self.db_name, self.db_user))

    @property
    def endpoints_file(self) -> Path:
        """File with the addresses of the local services; `up` writes it and `down` removes it."""
        return file_in(self.home)

    def _local(self, service: str) -> str:
        """Return the address of a local service, the last one if it was stopped meanwhile."""
        address = endpoints(self.home).known(service)
        if address is None:
            title, variables = _CONFIGURED_BY[service]
            raise NotRunningError(
                f"no {title} is configured and the local one is not running: "
                f"start it with `cryptometrics up`, or set {variables}"
            )
        return address


def _secret_in(path: str | Path, variable: str) -> str:
    """Return the secret in a file, without the byte order mark and the line ending that editors add."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_SECRET_BYTES + 1)
        if not raw.strip() or len(raw) > MAX_SECRET_BYTES:
            raise UserError(f"{variable} is not valid: {path} is {'too long' if raw.strip() else 'empty'}")
        return raw.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UserError(f"{variable} is not valid: {path} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{variable} is not valid: cannot read {path}: {reason}") from None


def pinned(home: Path, bootstrap_servers: str, postgres_uri: str) -> Settings:
    """Return settings with these two services and defaults otherwise; ignore the environment."""
    return Settings(home=home, kafka_bootstrap_servers=bootstrap_servers, database_url=Secret(postgres_uri))


def unknown_variables(is_option: Callable[[str], bool]) -> Iterator[UnknownVariable]:
    """Yield the variables that look like ours and that nothing reads; see `env_file.unknown`."""
    return unknown([variable_of(field) for field in dataclasses.fields(Settings)], is_option)


@functools.cache
def load() -> Settings:
    """Read the configuration once; raise UserError that names the invalid variable."""
    try:
        found = {name.upper(): value for name, value in read_file().items() if value}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"cannot read {FILE.resolve()}: {reason}") from None
    # A name in capitals comes before the same one in small letters.
    for name in sorted(os.environ, key=str.isupper):
        if os.environ[name]:
            found[name.upper()] = os.environ[name]
    return Settings.of(found)
