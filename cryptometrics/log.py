"""Set up structlog: events on stderr, human on a terminal and JSON elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO

import structlog

from cryptometrics.text import escape

Format = Literal["auto", "human", "json"]


class _Stderr:
    """The current `sys.stderr`: a live display replaces it temporarily."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def setup(form: Format = "auto", *, verbose: bool = False, quiet: bool = False) -> None:
    """Send log events to stderr; `auto` means human on a terminal, JSON lines elsewhere.

    verbose: also log details for developers. quiet: log only warnings and errors.
    """
    human = resolve(form) == "human"
    stderr: TextIO = _Stderr()  # type: ignore[assignment]
    last: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if human
        else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human),
            structlog.processors.format_exc_info,
            _escaped,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(file=stderr),
    )


def resolve(form: Format) -> Literal["human", "json"]:
    """Return the format that `auto` means for the current stderr; the others mean themselves."""
    if form == "auto":
        return "human" if sys.stderr.isatty() else "json"
    return form


def _escaped(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape non-printable characters: a value from an unknown sender could steer the terminal."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = escape(value, keep="\n\t")
    return event


def get_logger(**context: object) -> structlog.typing.FilteringBoundLogger:
    """Return a logger; `context` is part of each of its events."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(**context)
    return logger
