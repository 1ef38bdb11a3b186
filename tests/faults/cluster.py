"""Three members as three processes: started, killed, stopped, continued, cut off, and judged.

A `Cluster` owns the processes, their folders and logs, and the network between them. Whatever happens to a test, its
`close` kills every process; a member also dies with the process that started it, and after its lifetime. Use it from
the test's main thread. Everything is on loopback, every wait has a limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.faults.clients import Book, Connection, NoAnswerError
from tests.faults.netns import Namespaces
from tests.faults.proxy import Network

import tenure
from tenure.sim.linearizability import Verdict, check

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = Path(tenure.__file__).resolve().parents[1]  # the members run the modules that the test runs
START_S = 20.0
LIFETIME_S = 280
POWER_LOSS = {"TENURE_STORAGE_FAULTS": "hold_unsynced"}
# Refusals of a change that pass.
PASSING = {"not_leader", "change_in_progress", "learner_behind", "would_lose_quorum", "proposal_refused", "overloaded"}
PORTS = range(20_000, 32_000)  # below the range from which the kernel takes ports for outgoing connections


def free_ports(count: int, source: random.Random) -> list[int]:
    """Ports that nobody uses, and that nobody gets by chance while a member is down."""
    found: list[int] = []
    while len(found) < count:
        port = source.choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    return sorted(set(found)) if len(set(found)) == count else free_ports(count, source)


def wait_until(what: str, condition: Any, timeout_s: float, step_s: float = 0.01) -> Any:
    """The first true answer of `condition`."""
    end = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        time.sleep(step_s)
    return answer


class Process:
    """One life of one member."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        self.spawned_ns = time.monotonic_ns()
        # The clients' door is made here, so that it stays in this process's network wherever the member's own is.
        with log.open("ab") as stream, socket.create_server(("127.0.0.1", 0), backlog=256) as door:
            self.popen = subprocess.Popen(
                [*command, "--door", str(door.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=environment,
                cwd=ROOT,
                pass_fds=(door.fileno(),),
            )
        self.pid = self.popen.pid
        self.port = 0
        self.expiry_checked = True

    def wait_ready(self) -> None:
        stream = self.popen.stdout
        assert stream is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            ready = selector.select(START_S)
        line = stream.readline() if ready else b""
        assert line.endswith(b"\n"), f"the member did not start:\n{tail(self.log)}"
        told = json.loads(line)
        self.port = told["port"]
        self.expiry_checked = told["expiry_checked"]

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(10)
        if self.popen.stdout is not None:
            self.popen.stdout.close()


class Cluster:
    """Three members by id, 1 to 3."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        proxied: bool = False,
        network: str | None = None,
        environment: dict[str, str] | None = None,
        packages: Path | None = None,
        directories: dict[int, Path] | None = None,
        io_threads: int = 0,
        **config: Any,
    ) -> None:
        """`packages`: where tenure is imported from, if not from where it is here; `config`: of the members' Config.

        `network`: "proxy" or "netns", so that links can be cut and slowed; `proxied` is short for the former.
        """
        self.folder = folder
        self.config = {"election_timeout_s": 1.0, **config}
        self.io_threads = io_threads
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TENURE_", "PYTEST_"))},
            "PYTHONPATH": str(packages or PACKAGES),
            "PYTHONUNBUFFERED": "1",
            **(environment or {}),
        }
        self.members = (1, 2, 3)
        self.directories = {id: (directories or {}).get(id, folder / f"member-{id}") for id in self.members}
        self.processes: dict[int, Process] = {}
        self.stopped: set[int] = set()
        self.packages: dict[int, Path] = {}  # of single members that run another build
        self.bootstrap: tuple[int, ...] | None = None
        self.network: Network | Namespaces | None = None
        self.source = random.Random(seed ^ os.getpid())
        self.connections: dict[int, Connection] = {}
        ports = free_ports(9, self.source)
        own = dict(zip(self.members, ports[:3], strict=True))
        self.addresses = {id: {peer: f"127.0.0.1:{port}" for peer, port in own.items()} for id in self.members}
        if network == "netns":
            self.network = Namespaces(self.members)
            self.config["insecure"] = True
            hosts = {id: f"{self.network.host(id)}:{own[id]}" for id in self.members}
            self.addresses = {id: dict(hosts) for id in self.members}
        elif network == "proxy" or proxied:
            self.network = Network()
            pairs = [(dialler, target) for dialler in self.members for target in self.members if dialler != target]
            for (dialler, target), port in zip(pairs, ports[3:], strict=True):
                self.network.add(dialler, target, own[target], port)
                self.addresses[dialler][target] = f"127.0.0.1:{port}"

    def __enter__(self) -> Cluster:
        try:
            for id in self.members:
                self.spawn(id)
            for process in self.processes.values():
                process.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            for id in self.members:
                print(f"---- member {id}, its last words\n{tail(self.log(id))}")
        self.close()

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()
        for process in self.processes.values():
            process.kill()
        if self.network is not None:
            self.network.close()

    # ---- lives

    def log(self, id: int) -> Path:
        return self.folder / f"member-{id}.log"

    def spawn(self, id: int, **environment: str) -> Process:
        command = [
            *(self.network.command(id) if isinstance(self.network, Namespaces) else []),
            sys.executable,
            "-P",
            str(Path(__file__).with_name("member_process.py")),
            "--directory",
            str(self.directories[id]),
            "--id",
            str(id),
            "--members",
            json.dumps(self.addresses[id]),
            "--config",
            json.dumps(self.config),
            "--io-threads",
            str(self.io_threads),
            "--lifetime",
            str(LIFETIME_S),
        ]
        if self.bootstrap is not None:
            command += ["--bootstrap", json.dumps(self.bootstrap)]
        if id in self.packages:
            environment = {"PYTHONPATH": str(self.packages[id]), **environment}
        self.forget(id)
        process = Process(command, {**self.environment, **environment}, self.log(id))
        self.processes[id] = process
        return process

    def start(self, id: int, **environment: str) -> Process:
        process = self.spawn(id, **environment)
        process.wait_ready()
        return process

    def add(self, id: int) -> Process:
        """Start a member that the group does not know yet; it joins by a change of the group."""
        (port,) = free_ports(1, self.source)
        self.bootstrap = self.bootstrap or self.members
        known = {**next(iter(self.addresses.values())), id: f"127.0.0.1:{port}"}
        self.addresses[id] = known
        self.directories[id] = self.folder / f"member-{id}"
        process = self.start(id)
        self.members = (*self.members, id)
        return process

    def drop(self, id: int) -> None:
        """A member that the group has removed is asked to stop, and is no longer asked for anything."""
        self.members = tuple(one for one in self.members if one != id)
        self.terminate(id)

    def refused_start(self, id: int) -> str:
        """Start a member that must refuse to; what it said."""
        said = self.log(id).stat().st_size if self.log(id).exists() else 0
        process = self.spawn(id)
        code = process.popen.wait(START_S)
        process.kill()
        with self.log(id).open() as stream:
            stream.seek(said)
            text = stream.read()
        assert code == 1, f"ended with {code}: {text}"
        return text

    def kill(self, id: int) -> None:
        """SIGKILL, and wait until it is dead."""
        self.forget(id)
        self.processes[id].kill()
        self.stopped.discard(id)

    def terminate(self, id: int, timeout_s: float = 15.0) -> float:
        """A graceful stop; how long it took."""
        self.forget(id)
        began = time.monotonic()
        self.processes[id].popen.terminate()
        code = self.processes[id].popen.wait(timeout_s)
        took = time.monotonic() - began
        self.processes[id].kill()
        assert code == 0, f"member {id} ended with {code}"
        return took

    def stop(self, id: int) -> None:
        """SIGSTOP, and wait until every thread of it stands still."""
        os.kill(self.processes[id].pid, signal.SIGSTOP)
        tasks = Path(f"/proc/{self.processes[id].pid}/task")

        def still() -> bool:
            states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks.iterdir()]
            return all(state == "T" for state in states)

        wait_until(f"member {id} stands still", still, 5.0, 0.001)
        self.stopped.add(id)

    def resume(self, id: int) -> int:
        """SIGCONT; the instant just before it."""
        now_ns = time.monotonic_ns()
        os.kill(self.processes[id].pid, signal.SIGCONT)
        self.stopped.discard(id)
        return now_ns

    def port(self, id: int) -> int:
        return self.processes[id].port

    def is_alive(self, id: int) -> bool:
        return id in self.processes and self.processes[id].popen.poll() is None

    # ---- questions

    def forget(self, id: int) -> None:
        connection = self.connections.pop(id, None)
        if connection is not None:
            connection.close()

    def ask(self, id: int, timeout_s: float = 8.0, **request: Any) -> dict[str, Any]:
        """One question over a connection that is kept."""
        connection = self.connections.get(id)
        if connection is None:
            connection = self.connections[id] = Connection(self.port(id))
        try:
            return connection.ask(timeout_s, **request)
        except NoAnswerError:
            self.forget(id)
            raise

    def status(self, id: int) -> dict[str, Any] | None:
        """The member's numbers; None when it does not answer."""
        if not self.is_alive(id) or id in self.stopped:
            return None
        try:
            answer = self.ask(id, 2.0, op="status")
        except NoAnswerError:
            return None
        return answer if answer["status"] == "ok" else None

    def leaders(self, among: tuple[int, ...] | None = None) -> dict[int, int]:
        """Who believes to lead: term by member."""
        found = {}
        for id in among or self.members:
            status = self.status(id)
            if status is not None and status["state"] == "leader":
                found[id] = status["term"]
        return found

    def change(self, *changes: dict[str, Any], timeout_s: float = 30.0) -> dict[str, Any]:
        """Change the group, through whoever leads, as often as a refusal may pass; who belongs to it then.

        Changes are dictionaries of `change`, `id` and `address`. A change whose outcome is not known is looked up.
        """
        goal = {
            one["id"]: {"ADD_LEARNER": "learners", "DEMOTE": "learners", "REMOVE": None}.get(one["change"], "voters")
            for one in changes
        }

        def made() -> dict[str, Any] | None:
            found = self.ask(self.leader(), op="group")
            belongs = {id: name for name in ("voters", "learners") for id in found[name]}
            done = all(belongs.get(id) == where for id, where in goal.items()) and not found["joint"]
            return found if done else None

        def attempt() -> dict[str, Any] | None:
            with contextlib.suppress(NoAnswerError):
                if (found := made()) is not None:
                    return found
                answer = self.ask(self.leader(), op="change", changes=changes)
                assert answer["status"] != "fail" or answer["code"] in PASSING, answer
                return made()
            return None

        found: dict[str, Any] = wait_until(f"the group is changed by {changes}", attempt, timeout_s, 0.05)
        return found

    def leader(self, *, timeout_s: float = 15.0, among: tuple[int, ...] | None = None, above_term: int = 0) -> int:
        """The member that leads in the highest term, once its own-term entry is applied, so that it answers at once."""

        def settled() -> int:
            for id, term in sorted(self.leaders(among).items(), key=lambda item: -item[1]):
                if term > above_term:
                    status = self.status(id)
                    if status is not None and status["applied"] == status["commit"] > 0:
                        return id
                return 0
            return 0

        return int(wait_until("there is a leader", settled, timeout_s))

    # ---- judgement

    def settle(self, timeout_s: float = 20.0) -> dict[int, dict[str, Any]]:
        """Wait until every member has applied the same; their numbers. Their state hashes must be equal."""

        def equal() -> dict[int, dict[str, Any]] | None:
            found = {id: status for id in self.members if (status := self.status(id)) is not None}
            if len(found) < len(self.members):
                return None
            indexes = {status[name] for status in found.values() for name in ("applied", "applied_after", "last")}
            return found if len(indexes) == 1 else None

        try:
            found = wait_until("all members have applied the same", equal, timeout_s, 0.02)
        except AssertionError as error:
            raise AssertionError(f"{error}: {[self.status(id) for id in self.members]}") from None
        hashes = {id: status["state_hash"] for id, status in found.items()}
        assert len(set(hashes.values())) == 1, f"the members' states differ at index {found[1]['applied']}: {hashes}"
        return found

    def read_all(self, book: Book, client: str = "judge") -> None:
        """Read every key of the book once, through the leader, by a quorum first and its lease afterwards."""
        leader = self.leader()
        with contextlib.closing(Connection(self.port(leader))) as connection:
            mode = "read_index"
            for key in sorted({operation.key for operation in book.operations}):
                answer = book.run(connection, client, "get", key, mode=mode)
                assert answer is not None
                assert answer["status"] == "ok", answer
                mode = "lease"


def judge(cluster: Cluster, book: Book) -> int:
    """Everything acknowledged is there, the history is linearizable, the members are equal. Returns its length."""
    cluster.read_all(book)
    cluster.settle()
    book.close()
    report = check(book.operations)
    assert report.verdict is Verdict.LINEARIZABLE, f"{book.path}\n{report.violation and report.violation.render()}"
    told = check_by_command(book.path)
    assert told.returncode == 0, told.stdout + told.stderr
    return report.operations


def check_by_command(path: Path) -> subprocess.CompletedProcess[str]:
    """`tenure check-history FILE`."""
    return subprocess.run(
        [sys.executable, "-m", "tenure.cli", "check-history", str(path)],
        env={**os.environ, "PYTHONPATH": str(PACKAGES)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def tail(path: Path, lines: int = 30) -> str:
    """The end of a log."""
    if not path.exists():
        return "(nothing)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
