"""Find and read the file of alert rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics import log
from cryptometrics.alerts.rules import Rule, RulesError, parse
from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from cryptometrics.config import Settings

DEFAULT = Path("alerts.toml")


class Rules(NamedTuple):
    """Rules and their file; empty if no file is named or found."""

    path: Path | None
    rules: tuple[Rule, ...]


def place_of(settings: Settings, named: Path | None) -> Path | None:
    """Return the file to use: the named one, else the configured one, else the one in the working folder."""
    return named or settings.alerts or (DEFAULT if DEFAULT.exists() else None)


def read(path: Path) -> tuple[Rule, ...]:
    """Return the rules of a file; raise RulesError, or UserError if it cannot be read."""
    try:
        return parse(path.read_text(encoding="utf-8-sig"))  # editors on Windows begin with a byte order mark
    except OSError as error:
        raise UserError(f"cannot read the alert rules {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"cannot read the alert rules {path}: it is not UTF-8 text") from None


def rules_of(settings: Settings, named: Path | None) -> Rules:
    """Return the rules for `process` and check the webhook's settings; raise UserError."""
    from cryptometrics.notify.webhook import Webhook

    path = place_of(settings, named)
    if path is None:
        return Rules(None, ())
    Webhook.configured(settings)
    try:
        rules = read(path)
        log.get_logger().info("alert_rules", file=str(path), rules=len(rules), webhook=settings.has_webhook)
        return Rules(path, rules)
    except RulesError as error:
        more = len(error.problems) - 1
        hint = f" (and {more} more: see `cryptometrics alerts check`)" if more else ""
        raise UserError(f"{path}, {error.problems[0]}{hint}") from None
