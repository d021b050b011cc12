"""Evaluate the rules about figures on new rows, and store the result in the transaction of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptometrics.alerts.channels import NOBODY, Recipients
from cryptometrics.alerts.figure_rules import FigureRules, ObservedFigure
from cryptometrics.alerts.kinds import KINDS, OnFigures
from cryptometrics.market.venues import Market
from cryptometrics.store import alerts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import psycopg

    from cryptometrics.alerts.rules import Rule
    from cryptometrics.store.risk_rows import FigureRow

COLUMNS = sorted(
    {
        column
        for kind in KINDS.values()
        if isinstance(kind.source, OnFigures)
        for column in kind.source.columns
    }
)
"""The columns that rules can be about."""


@dataclass(frozen=True)
class RuleSettings:
    """The rules that a follower evaluates, and where it sends their alerts."""

    rules: tuple[Rule, ...] = ()
    recipients: Recipients = NOBODY
    limits: bool = True
    """Whether limits of portfolios are evaluated, too: they are in no file."""


class FigureAlerts:
    """Evaluates one venue's rows. Its state is dropped in doubt, and loaded again."""

    def __init__(
        self, connection: psycopg.Connection, group: str, venue: str, settings: RuleSettings
    ) -> None:
        self._connection, self._group, self._venue = connection, group, venue
        self._recipients = settings.recipients
        self._of_figures = [rule for rule in settings.rules if rule.owner == "risk"]
        self._rules: FigureRules | None = None

    def drop(self) -> None:
        """Drop the state."""
        self._rules = None

    def evaluate(self, rows: Iterable[FigureRow], is_young: Callable[[FigureRow], bool]) -> None:
        """Evaluate rows of complete minutes, in order, and write what has changed.

        is_young: returns whether the first minute of a row's pair lies within its range.
        """
        if not self._of_figures:
            return
        if self._rules is None:
            names = [rule.name for rule in self._of_figures]
            self._rules = FigureRules(
                self._of_figures, alerts.saved_states(self._connection, self._group, names)
            )
        for row in rows:
            figures = row.figures
            values = {column: getattr(figures, column) for column in COLUMNS}
            self._rules.evaluate(
                ObservedFigure(
                    Market(self._venue, row.pair),
                    row.range,
                    row.as_of,
                    figures.coverage,
                    values,
                    is_young(row),
                )
            )
        transitions, changed = self._rules.take()
        with self._connection.cursor() as cursor:
            alerts.write(cursor, self._group, transitions, changed, self._recipients)
