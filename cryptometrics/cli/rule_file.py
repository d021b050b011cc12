"""Find and read the file of alert rules and channels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics import log
from cryptometrics.alerts.channels import Channel
from cryptometrics.alerts.channels import parse as parse_channels
from cryptometrics.alerts.rules import Rule, parse
from cryptometrics.alerts.toml_lines import RulesError
from cryptometrics.errors import UserError
from cryptometrics.notify.channels import open_channels

if TYPE_CHECKING:
    from cryptometrics.config import Settings

DEFAULT = Path("alerts.toml")


class Rules(NamedTuple):
    """Rules and channels, and their file; empty if no file is named or found."""

    path: Path | None
    rules: tuple[Rule, ...]
    channels: tuple[Channel, ...]


def place_of(settings: Settings, named: Path | None) -> Path | None:
    """Return the file to use: the named one, else the configured one, else the one in the working folder."""
    return named or settings.alerts or (DEFAULT if DEFAULT.exists() else None)


def read(path: Path) -> Rules:
    """Return the content of a file; raise RulesError with all problems, or UserError if it cannot be read."""
    text = _text(path)
    channels, problems = parse_channels(text)
    try:
        rules = parse(text)
    except RulesError as error:
        problems += error.problems
    try:
        open_channels(channels)
    except RulesError as error:
        problems += error.problems
    if problems:
        raise RulesError(sorted(problems, key=lambda problem: problem.line))
    return Rules(path, rules, channels)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows begin with a byte order mark
    except OSError as error:
        raise UserError(f"cannot read the alert rules {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"cannot read the alert rules {path}: it is not UTF-8 text") from None


def rules_of(settings: Settings, named: Path | None) -> Rules:
    """Return the rules for `process` and check the webhook's settings; raise UserError."""
    from cryptometrics.notify.webhook import Webhook

    path = place_of(settings, named)
    if path is None:
        return Rules(None, (), ())
    Webhook.configured(settings)
    try:
        found = read(path)
    except RulesError as error:
        more = len(error.problems) - 1
        hint = f" (and {more} more: see `cryptometrics alerts check`)" if more else ""
        raise UserError(f"{path}, {error.problems[0]}{hint}") from None
    log.get_logger().info(
        "alert_rules",
        file=str(path),
        rules=len(found.rules),
        webhook=settings.has_webhook,
        channels=[channel.name for channel in found.channels],
    )
    return found
