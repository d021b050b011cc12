"""The settings of the user: environment, then `.env` in the working folder, then defaults.

Connection settings are never options of a command, so that no process list shows a password. Secrets are
`SecretStr`, which does not print them.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import platformdirs
from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    PositiveFloat,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from cryptometrics.config.endpoints import NotRunningError, endpoints, file_in
from cryptometrics.config.env_file import FILE, KAFKA_CONF, EnvFile, read_file, unknown, variable_of
from cryptometrics.config.latency import DEFAULT_LATENCY_S, parse_latency
from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def _file_settings(settings: type[BaseSettings]) -> set[str]:
    """Return the keys of the settings that name a file with a secret."""
    return {
        variable_of(name, field) if field.validation_alias is not None else name
        for name, field in settings.model_fields.items()
        if name.endswith(_FILE)
    }


def _latency(value: str | float) -> float:
    """Parse the budget of `process`; raise UserError that names the variable."""
    try:
        return parse_latency(str(value))
    except ValueError:  # without the value: a secret may stand where it does not belong
        raise UserError("CRYPTOMETRICS_LATENCY is not valid: write 0, or a duration from 5ms to 1s") from None


def _default_home() -> Path:
    # PostgreSQL never runs as root: its own user must reach the data but cannot enter /root.
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "XDG_DATA_HOME" not in os.environ:
        return Path("/var/lib/cryptometrics")
    return platformdirs.user_data_path("cryptometrics", appauthor=False)


class Settings(BaseSettings):
    """Addresses and credentials of Kafka and PostgreSQL, and the paths that commands share.

    A service that is not configured is the one that `cryptometrics up` runs.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (it replaces ${…} in secrets)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from, the first place that has one first."""
        return init_settings, env_settings, EnvFile(settings_cls)

    database_url: SecretStr | None = None
    database_url_file: Path | None = None
    db_host: str | None = None
    db_port: int | None = Field(default=None, ge=1, le=65535)
    db_name: str | None = None
    db_user: str | None = None
    db_password: SecretStr | None = None
    db_password_file: Path | None = None
    db_sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    db_sslrootcert: Path | None = None
    db_sslcert: Path | None = None
    db_sslkey: Path | None = None

    kafka_bootstrap_servers: str | None = None
    kafka_topic: str = Field(default="crypto_prices", pattern=r"^[a-zA-Z0-9._-]{1,249}$")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] | None = None
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_sasl_password_file: Path | None = None
    kafka_ssl_ca_location: Path | None = None
    kafka_ssl_certificate_location: Path | None = None
    kafka_ssl_key_location: Path | None = None
    kafka_ssl_key_password: SecretStr | None = None
    kafka_ssl_key_password_file: Path | None = None

    home: Path = Field(default_factory=_default_home, validation_alias=AliasChoices("CRYPTOMETRICS_HOME"))
    """Folder with the state of the local services."""
    wait: PositiveFloat = Field(default=30.0, validation_alias=AliasChoices("CRYPTOMETRICS_WAIT"))
    """Seconds to wait for a service at the start of a command."""

    latency: Annotated[float, BeforeValidator(_latency)] = Field(
        default=DEFAULT_LATENCY_S, validation_alias=AliasChoices("CRYPTOMETRICS_LATENCY")
    )
    """Seconds that a tick may wait for company in `process`."""

    alerts: Path | None = Field(default=None, validation_alias=AliasChoices("CRYPTOMETRICS_ALERTS"))
    """File with the alert rules."""
    webhook_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("CRYPTOMETRICS_WEBHOOK_URL")
    )
    """URL that receives alerts; it often contains a secret."""
    webhook_url_file: Path | None = Field(
        default=None, validation_alias=AliasChoices("CRYPTOMETRICS_WEBHOOK_URL_FILE")
    )
    webhook_format: Literal["generic", "slack"] = Field(
        default="generic", validation_alias=AliasChoices("CRYPTOMETRICS_WEBHOOK_FORMAT")
    )

    web_token: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("CRYPTOMETRICS_WEB_TOKEN")
    )
    """Token that a page beyond this machine needs."""
    web_token_file: Path | None = Field(
        default=None, validation_alias=AliasChoices("CRYPTOMETRICS_WEB_TOKEN_FILE")
    )

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Replace each file setting by the secret that the file holds."""
        for name in [name for name in values if name in _file_settings(cls)]:
            secret = name[: -len(_FILE)]
            if values.get(secret) is not None:
                raise UserError(f"{secret.upper()} and {name.upper()} are both set: remove one of them")
            values[secret] = _secret_in(values[name], name.upper())
        return values

    def kafka(self) -> dict[str, str | int | float | bool]:
        """Return librdkafka's connection settings; raise UserError if no broker is configured or running."""
        servers = self.kafka_bootstrap_servers or self._local("kafka")
        conf: dict[str, str | int | float | bool] = {"bootstrap.servers": servers}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None or not name.startswith(("kafka_security_", "kafka_sasl_", "kafka_ssl_")):
                continue
            if name.endswith(_FILE):
                continue
            secret = isinstance(value, SecretStr)
            conf[name.removeprefix("kafka_").replace("_", ".")] = (
                value.get_secret_value() if secret else str(value)
            )
        return conf | _kafka_conf_variables()

    def postgres(self) -> str:
        """Return the connection string with the password; raise UserError if there is no server."""
        from psycopg.conninfo import make_conninfo

        if self.database_url is not None:
            return self.database_url.get_secret_value()
        if not any((self.db_host, self.db_name, self.db_user)):
            return self._local("postgres")
        # libpq adds the port, the encryption and more from its own variables and files, if they are not here.
        names_host = {"PGHOST", "PGHOSTADDR", "PGSERVICE"} & os.environ.keys()
        parts: dict[str, Any] = {
            "host": self.db_host or (None if names_host else "localhost"),
            "port": self.db_port,
            "dbname": self.db_name,
            "user": self.db_user,
            "password": self.db_password.get_secret_value() if self.db_password else None,
            "sslmode": self.db_sslmode,
            "sslrootcert": self.db_sslrootcert,
            "sslcert": self.db_sslcert,
            "sslkey": self.db_sslkey,
        }
        return make_conninfo("", **{name: value for name, value in parts.items() if value is not None})

    @property
    def kafka_address(self) -> str:
        """The bootstrap servers, as messages name them."""
        return str(self.kafka()["bootstrap.servers"])

    @property
    def running_kafka(self) -> str | None:
        """The bootstrap servers; None while the local Kafka is stopped: another process may take its port."""
        if self.uses_local_kafka and endpoints(self.home).running("kafka") is None:
            return None
        return self.kafka_address

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


def _kafka_conf_variables() -> dict[str, str]:
    """Return KAFKA_CONF_SOCKET_TIMEOUT_MS=… as {"socket.timeout.ms": …}; read `.env`, too."""
    found = {**read_file(), **os.environ}
    return {
        name.removeprefix(KAFKA_CONF).lower().replace("_", "."): value
        for name, value in found.items()
        if name.startswith(KAFKA_CONF) and value
    }


def pinned(home: Path, bootstrap_servers: str, postgres_uri: str) -> Settings:
    """Return settings with these two services and defaults otherwise; ignore the environment."""
    return Settings.model_construct(
        home=home, kafka_bootstrap_servers=bootstrap_servers, database_url=SecretStr(postgres_uri)
    )


def unknown_variables(is_option: Callable[[str], bool]) -> Iterator[UnknownVariable]:
    """Yield the variables that look like ours and that nothing reads; see `variables.unknown`."""
    return unknown(Settings, is_option)


@functools.cache
def load() -> Settings:
    """Read the configuration once; raise UserError that names the invalid variable."""
    try:
        return Settings()
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        name = str(problem["loc"][0]).upper()
        raise UserError(f"{name} is not valid: {_first_lower(problem['msg'])}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"cannot read {FILE.resolve()}: {reason}") from None


def _first_lower(text: str) -> str:
    return re.sub(r"^[A-Z](?=[a-z])", lambda found: found[0].lower(), text)
