"""What is traded: the price and the volatility of each currency, and how precisely a pair is quoted. Pure.

A pair's price is the ratio of the prices of its two currencies, so all pairs are consistent with each other.
"""

from __future__ import annotations

import zlib
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

MAX_DECIMALS = 18
"""Digits a price may have after the point."""
SIGNIFICANT_DIGITS = 5
"""Digits of the prices of a pair that is not in the table."""


class Currency(NamedTuple):
    """A currency as the simulator knows it."""

    price: Fraction
    """In US dollars, at the start of a simulation that continues no other one."""
    volatility: int
    """Annualised volatility against the dollar, in per cent."""
    market_share: int
    """Correlation of its returns with the market's common factor, in per cent; 0: not a coin."""
    spread: int
    """Usual spread against the dollar, in tenths of a basis point."""


class LastQuote(NamedTuple):
    """The last quote of a pair on the topic."""

    price: Fraction
    """The middle of bid and ask."""
    decimals: int
    trade_id: int
    time: datetime


class PriceLevel(NamedTuple):
    """The prices of a pair: whole multiples of 10^-decimals, from `ticks` of them on."""

    decimals: int
    ticks: int


BITCOIN = Currency(Fraction(64_250), 57, 96, 10)

CURRENCIES = {
    "USD": Currency(Fraction(1), 0, 0, 0),
    "EUR": Currency(Fraction(108, 100), 7, 0, 5),
    "GBP": Currency(Fraction(127, 100), 8, 0, 5),
    "USDC": Currency(Fraction(1), 1, 0, 5),
    "USDT": Currency(Fraction(1), 1, 0, 5),
    "DAI": Currency(Fraction(1), 1, 0, 10),
    "BTC": BITCOIN,
    "ETH": Currency(Fraction(3_120), 68, 84, 12),
    "SOL": Currency(Fraction(148), 88, 82, 15),
    "XRP": Currency(Fraction(53, 100), 90, 80, 20),
    "ADA": Currency(Fraction(45, 100), 95, 82, 20),
    "DOGE": Currency(Fraction(125, 1000), 105, 80, 20),
    "LTC": Currency(Fraction(84), 80, 82, 20),
    "LINK": Currency(Fraction(145, 10), 92, 82, 20),
    "AVAX": Currency(Fraction(35), 96, 82, 20),
}
STABLECOINS = frozenset({"USDC", "USDT", "DAI"})

# Coinbase's decimals.
DECIMALS = {
    "BTC-USD": 2,
    "ETH-USD": 2,
    "SOL-USD": 2,
    "XRP-USD": 4,
    "ADA-USD": 4,
    "DOGE-USD": 5,
    "LTC-USD": 2,
    "LINK-USD": 3,
    "AVAX-USD": 2,
    "ETH-BTC": 5,
    "USDC-USD": 4,
    "USDT-USD": 4,
}


def currency(name: str) -> Currency:
    """Return a currency; an unknown one is a coin with plausible numbers, always the same."""
    known = CURRENCIES.get(name)
    if known is not None:
        return known
    # Not hash(), which differs from process to process.
    number = zlib.crc32(name.encode())
    price = Fraction(100 + number % 900, 100) * Fraction(10) ** ((number >> 10) % 6 - 3)
    return Currency(price, 80 + (number >> 16) % 28, 80 + (number >> 24) % 5, 20)


def split(pair: str) -> tuple[str, str]:
    """Return the names of a pair's currencies: base and quote."""
    base, _, quote = pair.partition("-")
    return base, quote


def levels_of(pairs: Iterable[str], last: Mapping[str, LastQuote]) -> dict[str, PriceLevel]:
    """Return the starting level of each pair: its last quotes' if there are any, else the usual one."""
    prices = _prices(last)
    levels = {}
    for pair in pairs:
        base, quote = (prices.get(name) or currency(name).price for name in split(pair))
        decimals = last[pair].decimals if pair in last else DECIMALS.get(pair) or _decimals(base / quote)
        levels[pair] = PriceLevel(decimals, max(round(base / quote * 10**decimals), 1))
    return levels


def _prices(last: Mapping[str, LastQuote]) -> dict[str, Fraction]:
    """Return the prices of currencies in US dollars that follow from quotes."""
    prices = {"USD": Fraction(1)}
    left = dict(last)
    while left:
        # Begin at the dollar; without a way to it, at the usual price of a quote currency.
        pair = next((pair for pair in left if not prices.keys().isdisjoint(split(pair))), next(iter(left)))
        base, quote = split(pair)
        price = left.pop(pair).price
        if base in prices:
            prices.setdefault(quote, prices[base] / price)
        else:
            prices[base] = price * prices.setdefault(quote, currency(quote).price)
    return prices


def _decimals(price: Fraction) -> int:
    """Return the decimals that give a price SIGNIFICANT_DIGITS; at least 2."""
    decimals = 2
    while decimals < MAX_DECIMALS and price * 10**decimals < 10 ** (SIGNIFICANT_DIGITS - 1):
        decimals += 1
    return decimals
