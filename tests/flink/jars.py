"""The pinned jars of a Flink cluster with Beam's runner; only `make test-flink` downloads them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from jgo.constants import default_maven_repo

from cryptometrics.errors import UserError
from cryptometrics.local import maven
from cryptometrics.local.jars import MAX_DOWNLOADS, Jar, _fetch_one


class Lock(msgspec.Struct, frozen=True):
    """What is pinned."""

    runner: str
    jars: tuple[Jar, ...]


LOCK = msgspec.json.decode(Path(__file__).with_name("flink-jars.lock.json").read_bytes(), type=Lock)


def ensure(place: Path) -> str:
    """Return the class path of the pinned jars in `place`, after fetching what is missing there.

    Raises UserError, in one line, where a version is not to be had.
    """
    place.mkdir(parents=True, exist_ok=True)
    missing = [jar for jar in LOCK.jars if not jar.is_in(place / jar.name)]
    if missing:
        size = sum(jar.size for jar in missing)
        print(f"downloading {LOCK.runner}: {len(missing)} jars, {size / 2**20:.0f} MiB")  # noqa: T201
        local, remote = default_maven_repo(), maven.repository()
        pool = ThreadPoolExecutor(MAX_DOWNLOADS)
        try:
            list(pool.map(lambda jar: _fetch_one(jar, place, local, remote), missing))
        except UserError as error:
            raise UserError(f"{LOCK.runner} is not to be had: {error}") from None
        finally:
            pool.shutdown(cancel_futures=True)
    return ":".join(str(place / jar.name) for jar in LOCK.jars)
