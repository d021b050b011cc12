"""What `doctor` finds on a machine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from cryptometrics.doctor import machine
from cryptometrics.doctor.diagnosis import State

if TYPE_CHECKING:
    from pathlib import Path


def test_an_old_python_is_wrong() -> None:
    assert machine.python((3, 10)).state is State.WRONG
    assert machine.python((3, 11)).state is State.OK


def test_a_missing_extra_is_wrong_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(machine.EXTRAS, "data", (("no_such_module",), "export"))
    assert machine.installed("data", needed=False).state is State.SKIPPED
    found = machine.installed("data", needed=True)
    assert (found.state, found.fix) == (State.WRONG, "pip install 'cryptometrics[data]'")


def test_a_port_that_is_taken_is_not_free() -> None:
    with socket.socket() as taken:
        taken.bind((machine.LOOPBACK, 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert not machine.is_free(number)
    assert machine.is_free(number)


def test_a_data_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    assert machine.permissions(tmp_path / "a" / "b").state is State.OK


def test_a_data_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert machine.permissions(tmp_path / "file" / "home").state is State.WRONG


@pytest.mark.parametrize(("limit", "state"), [("FEW_BYTES", State.WARNING), ("TOO_FEW_BYTES", State.WRONG)])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, state: State) -> None:
    monkeypatch.setattr(machine, limit, 2**63)
    assert machine.disk(tmp_path).state is state
