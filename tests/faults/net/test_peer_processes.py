"""Hosts in processes of their own: killed, stopped, restarted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tenure
from tenure._net.endpoint import Endpoint
from unit.net.network import CLUSTER, append, endpoint, heartbeat, pump_for, pump_until

# Answers every message with its term, as the member `id`; dials member 1.
ECHO = """
import sys
from tenure._net.endpoint import Endpoint
from tenure._raft.node import Message

id, start_counter, port, peer_port = map(int, sys.argv[1:5])
echo = Endpoint(id, cluster_id=bytes.fromhex(sys.argv[5]), start_counter=start_counter, port=port)
echo.add_peer(1, "127.0.0.1", peer_port)
print(echo.port, flush=True)
while True:
    echo.pump(10)
    for group, message, _ in echo.received():
        echo.send(Message("MsgHeartbeatResp", from_=id, to=message.from_, term=message.term), group)
    echo.flush()
"""


class EchoProcess:
    """A host that can be killed; `restart` is the same directory's next start."""

    def __init__(self, one: Endpoint, id: int) -> None:
        self.one, self.id = one, id
        self.start_counter, self.port = 0, 0
        self.restart()

    def restart(self) -> None:
        self.start_counter += 1
        arguments = [str(n) for n in (self.id, self.start_counter, self.port, self.one.port)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", ECHO, *arguments, CLUSTER.hex()],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(tenure.__file__).parent.parent)},
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def one() -> Endpoint:
    return endpoint(1, max_queued_bytes=1 << 20)


@pytest.fixture
def echoes(one: Endpoint) -> Iterator[list[EchoProcess]]:
    processes = [EchoProcess(one, 2), EchoProcess(one, 3)]
    for process in processes:
        one.add_peer(process.id, "127.0.0.1", process.port)
    yield processes
    for process in processes:
        process.end()


def answered(one: Endpoint, id: int, term: int) -> None:
    """Send until the echo of `term` comes back: messages may be lost, not garbled."""
    got: list = []

    def asked_and_answered() -> bool:
        one.send(heartbeat(1, id, term))
        got.extend(message.term for _, message, _ in one.received() if message.from_ == id)
        return term in got

    pump_until(asked_and_answered, one)


def test_three_processes_talk(one: Endpoint, echoes: list[EchoProcess]) -> None:
    for term in range(1, 20):
        for echo in echoes:
            answered(one, echo.id, term)


def test_a_killed_process_is_reported_and_its_next_start_is_found(one: Endpoint, echoes: list[EchoProcess]) -> None:
    victim = echoes[0]
    for echo in echoes:
        answered(one, echo.id, 1)
    one.unreachable()
    for restart in (1, 2, 3):
        victim.end()
        pump_until(lambda: not one.statistics(2)["connected"], one)
        assert one.unreachable() == [2]
        answered(one, 3, 10 + restart)  # nobody else notices
        victim.restart()
        answered(one, 2, 10 + restart)
        assert one.statistics(2)["reconnects"] == restart
    assert one.statistics(3)["reconnects"] == 0


def test_a_stopped_process_fills_its_queue_only_and_goes_on_where_it_was(
    one: Endpoint, echoes: list[EchoProcess]
) -> None:
    stopped, _ = echoes
    for echo in echoes:
        answered(one, echo.id, 1)
    one.unreachable()
    stopped.signal(signal.SIGSTOP)
    sent = 0
    while one.send(append(1, 2, bytes(60_000))):
        sent += 1
        one.flush()
        assert sent < 1000
    one.flush()
    assert one.unreachable() == [2]
    answered(one, 3, 2)
    stopped.signal(signal.SIGCONT)
    echoed = 0

    def all_echoed() -> bool:
        nonlocal echoed
        echoed += sum(message.from_ == 2 and message.term == 1 for _, message, _ in one.received())
        return echoed >= sent

    pump_until(all_echoed, one)
    answered(one, 2, 3)
    assert one.statistics(2)["reconnects"] == 0
    pump_for(0.05, one)
    assert one.unreachable() == []
