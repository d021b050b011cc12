"""Log events with structlog: on stderr, human on a terminal and JSON elsewhere.

structlog is imported with the first event, because most commands that answer a question log none: its import
takes longer than their query.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TextIO

from cryptometrics.text import escape

if TYPE_CHECKING:
    import structlog

Format = Literal["auto", "human", "json"]


class _Setup(NamedTuple):
    """How events are written."""

    human: bool
    coloured: bool
    level: int


_chosen: list[_Setup] = []
"""The last setup; empty where nobody has set up the log."""


class _Stderr:
    """The current `sys.stderr`: a live display replaces it temporarily."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def setup(form: Format = "auto", *, verbose: bool = False, quiet: bool = False) -> None:
    """Send log events to stderr; `auto` means human on a terminal, JSON lines elsewhere.

    verbose: also log details for developers. quiet: log only warnings and errors.
    """
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    _chosen[:] = [_Setup(resolve(form) == "human", sys.stderr.isatty(), level)]
    if "structlog" in sys.modules:  # there may be loggers
        _configure(*_chosen)


def _configure(setup: _Setup) -> None:
    import structlog

    stderr: TextIO = _Stderr()  # type: ignore[assignment]
    last: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=setup.coloured)
        if setup.human
        else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if setup.human else "iso", utc=not setup.human),
            structlog.processors.format_exc_info,
            _escaped,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(setup.level),
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
    import structlog

    if _chosen and not structlog.is_configured():
        _configure(*_chosen)
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(**context)
    return logger
