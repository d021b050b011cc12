"""The state of a feed's connections in one line."""

from __future__ import annotations

from cryptometrics.feeds.connectivity import Connectivity


def test_the_line_gives_the_state_since_when_and_why() -> None:
    now = 1000.0
    state = Connectivity("wss://x", 2, lambda: now)
    now += 3
    assert str(state) == "connecting for 3s"
    state.failed("refused")
    now += 60
    assert str(state) == "not connected for 1m3s (refused)"
    assert str(state.nothing_received()) == (
        "nothing was received: the exchange at wss://x did not answer for 1m3s (refused): "
        "check the network and --url"
    )
    state.opened()
    assert str(state) == "1 of 2 connections open (refused)"
    state.opened()
    now += 5
    assert str(state) == "connected for 5s"
    state.failed("cut")
    state.closed()
    assert str(state) == "1 of 2 connections open (cut)"
    state.closed()
    assert str(state) == "not connected for 1s (cut)"


def test_before_a_failure_no_reason_is_given() -> None:
    assert str(Connectivity("wss://x", 1).nothing_received()) == (
        "nothing was received: the exchange at wss://x did not answer for 1s: check the network and --url"
    )
