"""Read a `positions.toml`. Every problem is found in one reading.

The file states numbers exactly, in quotes or without. What it leaves out has the defaults of `definition`.
"""

from __future__ import annotations

import importlib.resources
import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cryptometrics.market.venues import is_venue
from cryptometrics.risk.portfolio.definition import (
    EVERY_ASSET,
    MINUTE,
    MONEY_LIMITS,
    PERCENT_LIMITS,
    Limit,
    Portfolio,
    Position,
    RiskSettings,
    Stress,
    limit_name,
)
from cryptometrics.risk.portfolio.file_problems import FileProblem, KeyLines, key_of, unreadable
from cryptometrics.risk.portfolio.values import ValueReader, matches_asset, shown
from cryptometrics.risk.tail_risk import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryptometrics.risk.portfolio.file_problems import Path, RowLines

KEYS = (
    *("portfolio", "currency", "group", "venue", "treat_as"),
    *("cash", "position", "limits", "risk", "stress"),
)
POSITION_KEYS = ("asset", "quantity", "cost")
RISK_KEYS = ("confidence", "horizon", "range", "method", "stale_after", "warn_at")
MAX_POSITIONS = 1000
MAX_HORIZON, MAX_RANGE, MAX_STALE = timedelta(days=7), timedelta(days=90), timedelta(days=1)
SECOND = timedelta(seconds=1)

NAME = "a name of at most 63 letters, digits, dots, dashes and underscores"
_is_portfolio_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}").fullmatch


@dataclass(frozen=True, slots=True)
class PositionsFile:
    """A file as it was read. If there are problems, the portfolio lacks what is wrong: do not use it."""

    portfolio: Portfolio
    problems: tuple[FileProblem, ...]
    places: Mapping[str, Path]
    """Where the file names each asset that needs a price."""
    lines: KeyLines | RowLines

    def problem(self, path: Path, what: str) -> FileProblem:
        """Return a problem that was found after the reading, such as an asset that no pair prices."""
        return FileProblem(self.lines.of(path), key_of(path), what)


class PositionsError(Exception):
    """A file of positions is not valid; has all its problems, in the order of their lines."""

    def __init__(self, problems: tuple[FileProblem, ...]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def is_portfolio_name(name: str) -> bool:
    """Return whether a text can be the name of a portfolio."""
    return _is_portfolio_name(name) is not None


def is_asset(text: str) -> bool:
    """Return whether a text can be an asset or a currency."""
    return matches_asset(text) is not None


def example(name: str = "example") -> str:
    """Return a file that is part of the package: the commented `example`, or `demo`, that of the demo."""
    return importlib.resources.files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8")


def parse_toml(text: str) -> PositionsFile:
    """Read a TOML file. Raises PositionsError if it is not TOML at all."""
    try:
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise PositionsError((unreadable(text, str(error)),)) from None
    return _Content(content, KeyLines(text)).file()


class _Content:
    """Reads the parsed content of a TOML file."""

    def __init__(self, content: dict[str, Any], lines: KeyLines) -> None:
        self._content = content
        self._read = ValueReader(lines)

    def file(self) -> PositionsFile:
        read, content = self._read, self._content
        read.unknown_keys(content, (), KEYS)
        for key in ("portfolio", "currency"):
            if key not in content:
                read.wrong((key,), "is missing: every portfolio needs it")
        currency = read.asset(content["currency"], ("currency",)) if "currency" in content else None
        tables = read.tables(content, "position")
        positions = read_positions(read, tables)
        cash = self._cash()
        portfolio = Portfolio(
            name=read.text(content, ("portfolio",), matches=_is_portfolio_name, like=NAME) or "",
            currency=currency or "",
            positions=positions,
            group=read.text(content, ("group",), matches=_is_group, like="the name of a consumer group"),
            venue=read.text(content, ("venue",), matches=is_venue, like='a venue such as "coinbase"'),
            treat_as=self._treat_as(currency),
            cash=cash,
            limits=self._limits({position.asset for position in positions}),
            risk=self._risk(),
            stress=self._stress(),
        )
        if not {"position", "cash"} & {*content}:
            read.wrong((), "the file has neither a [[position]] nor [cash]")
        problems = tuple(sorted(read.problems, key=lambda problem: problem.line))
        return PositionsFile(portfolio, problems, asset_places(tables, cash), read.lines)

    def _cash(self) -> dict[str, Decimal]:
        found = {}
        for key, value in self._read.table(self._content, "cash", ()).items():
            currency = self._read.asset(key, ("cash", key))
            amount = self._read.decimal(value, ("cash", key))
            if currency is not None and amount is not None:
                found[currency] = amount
        return found

    def _treat_as(self, currency: str | None) -> dict[str, str]:
        found = {}
        for key, value in self._read.table(self._content, "treat_as", ()).items():
            path = ("treat_as", key)
            asset, other = self._read.asset(key, path), self._read.asset(value, path)
            if asset is None or other is None:
                continue
            if asset in (other, currency):
                self._read.wrong(path, f"{asset} must count as another asset, and not be the currency itself")
            else:
                found[asset] = other
        for asset, other in found.items():
            if other in found:
                self._read.wrong(("treat_as", asset), f"{other} counts as {found[other]}: name that instead")
        return found

    def _limits(self, assets: set[str]) -> tuple[Limit, ...]:
        read = self._read
        table = read.table(self._content, "limits", ())
        read.unknown_keys(table, ("limits",), (*MONEY_LIMITS, *PERCENT_LIMITS, "of"))
        found = self._levels(table, ("limits",), (*MONEY_LIMITS, *PERCENT_LIMITS), None)
        for asset, limits in read.table(table, "of", ("limits",)).items():
            path: Path = ("limits", "of", asset)
            if asset not in assets:
                read.wrong(path, f"no position has the asset {asset}: add one, if need be of quantity 0")
            if not isinstance(limits, dict):
                read.wrong(path, f"{shown(limits)} is not a table: write [limits.of.{asset}]")
                continue
            read.unknown_keys(limits, path, MONEY_LIMITS)
            found += self._levels(limits, path, MONEY_LIMITS, asset)
        return tuple(found)

    def _levels(
        self, table: Mapping[str, Any], path: Path, figures: Sequence[str], asset: str | None
    ) -> list[Limit]:
        levels = {
            figure: self._read.positive(table[figure], (*path, figure))
            for figure in figures
            if figure in table
        }
        return [
            Limit(limit_name(figure, asset), figure, level, asset)
            for figure, level in levels.items()
            if level is not None
        ]

    def _risk(self) -> RiskSettings:
        read = self._read
        table = read.table(self._content, "risk", ())
        read.unknown_keys(table, ("risk",), RISK_KEYS)
        usual = RiskSettings()
        method = table.get("method", usual.method)
        if method not in METHODS:
            read.wrong(("risk", "method"), f"{shown(method)} must be one of {', '.join(METHODS)}")
            method = usual.method
        horizon = read.duration(table, ("risk", "horizon"), usual.horizon, unit=MINUTE, most=MAX_HORIZON)
        length = read.duration(table, ("risk", "range"), usual.range, unit=MINUTE, most=MAX_RANGE)
        if length < horizon:
            read.wrong(("risk", "range"), f"{shown(table.get('range', '24h'))} is shorter than the horizon")
        return RiskSettings(
            confidence=self._share(table, "confidence", usual.confidence, whole=False),
            horizon=horizon,
            range=length,
            method=method,
            stale_after=read.duration(
                table, ("risk", "stale_after"), usual.stale_after, unit=SECOND, most=MAX_STALE
            ),
            warn_at=self._share(table, "warn_at", usual.warn_at, whole=True),
        )

    def _share(self, table: Mapping[str, Any], key: str, usual: float, *, whole: bool) -> float:
        if key not in table:
            return usual
        number = self._read.decimal(table[key], ("risk", key))
        if number is None:
            return usual
        if not 0 < number <= 1 or (number == 1 and not whole):
            most = "at most 1" if whole else "below 1"
            self._read.wrong(("risk", key), f"{shown(table[key])} must be above 0 and {most}")
            return usual
        return float(number)

    def _stress(self) -> tuple[Stress, ...]:
        read = self._read
        found: dict[str, Stress] = {}
        for number, table in enumerate(read.tables(self._content, "stress")):
            path: Path = ("stress", number)
            read.unknown_keys(table, path, ("name", "shocks"))
            name = table.get("name")
            if not isinstance(name, str) or not 0 < len(name) <= 100 or not name.isprintable():
                read.wrong((*path, "name"), f"{shown(name)} must be a name of 1 to 100 printable characters")
                name = ""
            elif name in found:
                read.wrong((*path, "name"), f"{shown(name)} is already the name of an earlier stress test")
            shocks = {}
            table_of_shocks = read.table(table, "shocks", path)
            if not table_of_shocks:
                read.wrong((*path, "shocks"), 'is missing: write shocks = { BTC = -0.39, "*" = -0.40 }')
            for asset, value in table_of_shocks.items():
                place = (*path, "shocks", asset)
                known = asset == EVERY_ASSET or read.asset(asset, place) is not None
                shock = read.decimal(value, place)
                if shock is not None and shock < -1:
                    read.wrong(place, f"{shown(value)} is below -1: a price cannot fall by more than all")
                elif known and shock is not None:
                    shocks[asset] = shock
            found[name] = Stress(name, shocks)
        return tuple(found.values())


def read_positions(read: ValueReader, tables: Sequence[Mapping[str, Any]]) -> tuple[Position, ...]:
    """Return the valid positions among tables of them, of several for one asset the first."""
    found: dict[str, Position] = {}
    lines: dict[str, int] = {}
    for number, table in enumerate(tables):
        path: Path = ("position", number)
        if number == MAX_POSITIONS:
            read.wrong(path, f"there are more than {MAX_POSITIONS:,} positions")
            break
        read.unknown_keys(table, path, POSITION_KEYS)
        for key in POSITION_KEYS[:2]:
            if key not in table:
                read.wrong((*path, key), "is missing: every position needs it")
        asset = read.asset(table["asset"], (*path, "asset")) if "asset" in table else None
        quantity = read.decimal(table["quantity"], (*path, "quantity")) if "quantity" in table else None
        cost = read.decimal(table["cost"], (*path, "cost")) if "cost" in table else None
        if cost is not None and cost < 0:
            read.wrong((*path, "cost"), f"{shown(table['cost'])} must not be below 0")
        if asset in found:
            what = f"{asset} already has a position, on line {lines[asset]}: state one quantity"
            read.wrong((*path, "asset"), what)
        elif asset is not None:
            # With a wrong quantity, too: its asset is still checked.
            found[asset] = Position(asset, quantity or Decimal(0), cost)
            lines[asset] = read.lines.of((*path, "asset"))
    return tuple(found.values())


def asset_places(tables: Sequence[Mapping[str, Any]], cash: Iterable[str]) -> dict[str, Path]:
    """Return the path of each asset that needs a price: its first position, or its cash."""
    places: dict[str, Path] = {}
    for number, table in enumerate(tables):
        places.setdefault(str(table.get("asset")), ("position", number, "asset"))
    for currency in cash:
        places.setdefault(currency, ("cash", currency))
    return places


def _is_group(name: str) -> bool:
    return 0 < len(name) <= 100 and name.isprintable()
