from __future__ import annotations

import random
import socket

import pytest

from activator.drivers import ports as module
from activator.drivers.ports import HANDED_OUT_FOR, Ports

HOST = "127.0.0.1"
CYCLE = 32


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_port_can_be_listened_on() -> None:
    port = Ports().take(HOST)

    with socket.create_server((HOST, port)) as server:
        assert server.getsockname() == (HOST, port)


def test_a_port_somebody_listens_on_is_not_given() -> None:
    first = Ports(dice=random.Random(7)).take(HOST)

    with socket.create_server((HOST, first)):
        assert Ports(dice=random.Random(7)).take(HOST) != first


def test_a_port_is_not_given_twice_nor_soon_after_it_was_given_back() -> None:
    clock = Clock()
    ports = Ports(clock=clock, dice=Cycling())
    first = ports.take(HOST)
    ports.give_back(first)

    clock.now += HANDED_OUT_FOR - 1
    others = [ports.take(HOST) for _ in range(2 * CYCLE)]
    clock.now += 1

    assert first not in others
    assert len(set(others)) == len(others)
    assert ports.take(HOST) == first


def test_ports_that_outgoing_connections_may_use_are_avoided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_ephemeral_range", lambda: (10100, 65535))

    ports = Ports(dice=Cycling())

    assert all(10000 <= ports.take(HOST) < 10100 for _ in range(3))


def test_where_all_ports_are_ephemeral_the_kernel_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ephemeral_range", lambda: (1024, 65535))
    ports = Ports()

    assert len({ports.take(HOST) for _ in range(5)}) == 5


def test_a_host_of_another_machine_is_an_error_at_once() -> None:
    with pytest.raises(OSError, match="assign"):
        Ports().take("192.0.2.1")


class Cycling(random.Random):
    """Throws the lowest numbers in turn, again and again: only memory keeps results apart."""

    def __init__(self) -> None:
        super().__init__(0)
        self._at = 0

    def randint(self, a: int, b: int) -> int:
        self._at = (self._at + 1) % CYCLE
        return a + self._at
