"""Read a file of positions for a command, and pin it; report every problem by line and key."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NoReturn

import click

from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    import psycopg

    from cryptometrics.risk.portfolio.file_problems import FileProblem
    from cryptometrics.risk.portfolio.positions_file import PositionsFile
    from cryptometrics.store.pin_portfolio import PinnedPortfolio
    from cryptometrics.store.positions import PortfolioVersion


class CsvOptions(NamedTuple):
    """What a CSV file cannot state itself."""

    portfolio: str | None
    currency: str | None
    group: str | None
    venue: str | None


def pinned_file(
    connection: psycopg.Connection, path: Path, at: datetime, csv_options: CsvOptions
) -> PinnedPortfolio:
    """Return the portfolio of a file, pinned; what it leaves out is as in the version in force at a moment.

    Prints every problem of the file on stderr and raises UserError with the last of them.
    """
    from cryptometrics.risk.portfolio.positions_file import PositionsError, parse_toml
    from cryptometrics.store import pin_portfolio, positions

    text = _text(path)
    try:
        if path.suffix.lower() == ".csv":
            name = csv_options.portfolio or path.stem
            present = next(iter(positions.in_force(connection, at, name)), None)
            file = _csv(text, path, name, present, csv_options)
        else:
            _refuse(csv_options)
            file = parse_toml(text)
            present = next(iter(positions.in_force(connection, at, file.portfolio.name)), None)
    except PositionsError as error:
        raise_problems(path, error.problems)
    if file.portfolio.currency:
        pinned = pin_portfolio.pin(connection, file, present)
        problems = sorted([*file.problems, *pinned.problems], key=lambda problem: problem.line)
    else:
        problems = list(file.problems)  # without a currency, no pair prices anything
    if problems:
        raise_problems(path, problems)
    return pinned


def raise_problems(path: Path, problems: Sequence[FileProblem]) -> NoReturn:
    """Print each problem of a file on a line of stderr, and raise UserError with the last one."""
    for problem in problems[:-1]:
        click.echo(f"error: {path}, {problem}", err=True)
    raise UserError(f"{path}, {problems[-1]}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows begin with a byte order mark
    except OSError as error:
        raise UserError(f"cannot read the positions {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"cannot read the positions {path}: it is not UTF-8 text") from None


def _csv(
    text: str, path: Path, name: str, present: PortfolioVersion | None, csv_options: CsvOptions
) -> PositionsFile:
    from dataclasses import replace

    from cryptometrics.risk.portfolio.definition import Portfolio
    from cryptometrics.risk.portfolio.positions_csv import parse_csv
    from cryptometrics.risk.portfolio.positions_file import NAME, is_asset, is_portfolio_name

    if not is_portfolio_name(name):
        raise UserError(f"{name!r} cannot be the name of a portfolio: name it with --portfolio, {NAME}")
    currency = csv_options.currency
    if currency is not None and not is_asset(currency):
        raise UserError(f"--currency {currency!r} is not a currency: currencies look like USD")
    if present is None and currency is None:
        raise UserError(
            f"there is no portfolio {name} yet, and {path} cannot state its currency: add --currency USD"
        )
    base = present.portfolio if present else Portfolio(name, currency or "", ())
    base = replace(
        base,
        currency=currency or base.currency,
        group=csv_options.group or base.group,
        venue=csv_options.venue or base.venue,
    )
    return parse_csv(text, base)


def _refuse(csv_options: CsvOptions) -> None:
    for option, value in csv_options._asdict().items():
        if value is not None:
            raise UserError(f"--{option} is for a CSV file: a TOML file states its {option} itself")
