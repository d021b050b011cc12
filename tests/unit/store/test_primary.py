"""Which of several servers is the primary, by what each says about its timeline."""

from __future__ import annotations

import pytest

from cryptometrics.store.primary import RivalsError, Server, is_same_run, newest, split_hosts

OLD, NEW = Server(7, 1, 100.0), Server(7, 2, 200.0)


@pytest.mark.parametrize(
    ("servers", "index"),
    [
        ([OLD], 0),
        ([OLD, NEW], 1),
        ([NEW, OLD], 0),
        ([NEW, NEW], 0),  # two names of one server
        ([OLD, NEW, Server(7, 3, 150.0)], 2),
        ([OLD, Server(8, 9, 200.0)], 0),  # another cluster has timelines of its own
        ([None, NEW], 0),
        ([OLD, None], 0),
    ],
)
def test_the_server_that_was_promoted_last_is_the_primary(servers: list[Server | None], index: int) -> None:
    assert newest(servers) == index


def test_two_servers_on_one_timeline_are_rivals() -> None:
    with pytest.raises(RivalsError, match="2 servers accept writes on timeline 2"):
        newest([OLD, NEW, NEW._replace(started=201.0)])


def test_only_a_lower_timeline_of_the_same_cluster_is_before() -> None:
    assert OLD.is_before(NEW)
    assert not NEW.is_before(OLD)
    assert not OLD.is_before(OLD._replace(started=999.0))
    assert not OLD.is_before(NEW._replace(system=8))


@pytest.mark.parametrize(
    ("server", "same"),
    [
        (OLD, True),
        (None, True),  # it says nothing that the other hosts could be compared with
        (OLD._replace(started=300.0), False),  # it went away: meanwhile another one may have been promoted
        (NEW, False),
        (OLD._replace(system=8), False),
    ],
)
def test_only_the_server_used_last_is_taken_without_asking_the_others(
    server: Server | None, same: bool
) -> None:
    assert is_same_run(server, OLD) is same


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        ({"host": "a,b", "port": "1,2"}, [{"host": "a", "port": "1"}, {"host": "b", "port": "2"}]),
        ({"host": "a,b", "port": "5432"}, [{"host": "a", "port": "5432"}, {"host": "b", "port": "5432"}]),
        (
            {"host": "a,b", "hostaddr": "10.0.0.1,10.0.0.2"},
            [{"host": "a", "hostaddr": "10.0.0.1"}, {"host": "b", "hostaddr": "10.0.0.2"}],
        ),
        ({"host": "a", "port": "1"}, [{"host": "a", "port": "1"}]),
        ({"host": "a,b,c", "port": "1,2"}, []),
        ({"host": "a", "port": "1,2"}, []),
        ({"dbname": "d"}, []),
    ],
)
def test_each_host_of_a_list_has_its_options(options: dict[str, str], hosts: list[dict[str, str]]) -> None:
    assert split_hosts(options | {"target_session_attrs": "read-write"}) == hosts


@pytest.mark.parametrize("wanted", ["any", "read-only", "standby", "prefer-standby"])
def test_hosts_that_need_not_accept_writes_are_left_to_libpq(wanted: str) -> None:
    assert split_hosts({"host": "a,b", "target_session_attrs": wanted}) == []
    assert split_hosts({"host": "a,b"}) == []
