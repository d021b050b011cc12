"""Crypto market risk in time: quotes through Kafka into PostgreSQL, exactly once, with charts.

The Python interface: `import cryptometrics as cm`, then `cm.connect()` reads what is stored and `cm.follow()`
yields quotes as they are committed. The names below load when they are used, so that the import is fast.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptometrics.api.client import Client, connect
    from cryptometrics.api.follower import Bookmark, Follower, follow
    from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
    from cryptometrics.store.committed_quotes import StoredQuote

__version__ = "0.1.0"
__all__ = [
    "Bookmark",
    "Client",
    "CryptometricsError",
    "Follower",
    "ServiceUnavailableError",
    "StoredQuote",
    "UserError",
    "__version__",
    "connect",
    "follow",
]

_HOMES = {
    "Bookmark": "cryptometrics.api.follower",
    "Client": "cryptometrics.api.client",
    "CryptometricsError": "cryptometrics.errors",
    "Follower": "cryptometrics.api.follower",
    "ServiceUnavailableError": "cryptometrics.errors",
    "StoredQuote": "cryptometrics.store.committed_quotes",
    "UserError": "cryptometrics.errors",
    "connect": "cryptometrics.api.client",
    "follow": "cryptometrics.api.follower",
}
"""The module of each name."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package, in which the function `follow` is not replaced by the folder of that name."""

    def __setattr__(self, name: str, value: object) -> None:
        # Python sets each imported submodule as an attribute of its package.
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
