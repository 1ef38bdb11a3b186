"""One member of a cluster under test, as a process of its own: an engine, the native store, and a server for the tests.

Run as a script by `tests.faults.cluster`, never by hand. Requests and answers are lines of JSON over TCP on loopback,
through a socket that the tests listen on and hand over;
every connection has a thread of its own and is answered in order. The first line on standard output tells the port, the
process id, and whether this build compares a lease's expiry with the clock at all.

    {"op": "set|get|incr|cas|del", "key", "value", "mode", "timeout"}   an operation on the store
    {"op": "status"}                                                    the engine's numbers
    {"op": "transfer", "target"}                                        hand leadership over
    {"op": "change", "changes": [{"change", "id", "address"}]}          change the group, as one
    {"op": "group"}; {"op": "snapshot"}                                 who belongs to it; take a snapshot
    {"op": "campaign"}                                                  ask the core to stand for election
    {"op": "hold_gil", "seconds"}; {"op": "garbage", "seconds"}         what bad neighbours do inside the process
    {"op": "fault", ...}                                                the disk of this process, see `storage_fault`

A `get` is fenced first and looks the key up afterwards, in the same thread. Modes: "lease" (falls back to a quorum),
"lease_only" (refused without a lease), "read_index" (always a quorum). SIGTERM is a graceful stop; it answers whoever
waits.

Only the standard library and tenure are imported, so that the same file runs over any build.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import tenure
from tenure._core.lease import Lease
from tenure._kv import codec
from tenure._kv.machine import KeyValueMachine
from tenure.config import Config
from tenure.engine.native import NativeEngine
from tenure.engine.protocol import Change, MemberChange
from tenure.errors import LeaseUnavailable, OutcomeUnknown, Refused, TenureError

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
MAX_LINE_BYTES = 1 << 20
GRACE_S = 5.0


def expiry_is_checked() -> bool:
    """Whether a lease that ended in the first second of this machine is seen to have ended."""
    lease = Lease()
    assert lease.extend(1 << 30, lease.generation)
    return not lease.valid()


class Server:
    """Answers the tests' clients."""

    def __init__(self, engine: NativeEngine, machine: KeyValueMachine, door: int) -> None:
        self.engine = engine
        self.machine = machine
        self.stopping = threading.Event()
        self.busy = 0
        self.lock = threading.Condition()
        self.listener = socket.socket(fileno=door)
        self.port = self.listener.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            while True:
                try:
                    line = lines.readline(MAX_LINE_BYTES)
                except OSError:
                    return
                if not line.endswith(b"\n"):
                    return
                with self.lock:
                    self.busy += 1
                try:
                    answer = self.answer(line)
                    connection.sendall(json.dumps(answer).encode() + b"\n")
                except OSError:
                    return
                finally:
                    with self.lock:
                        self.busy -= 1
                        self.lock.notify_all()

    def drain(self) -> bool:
        """Wait until everybody who asked has been answered; whether they have."""
        with self.lock:
            return self.lock.wait_for(lambda: self.busy == 0, GRACE_S)

    def answer(self, line: bytes) -> dict:
        request = json.loads(line)
        try:
            answer = getattr(self, "do_" + request["op"])(request)
            answer.setdefault("status", "ok")
        except OutcomeUnknown as error:
            answer = {"status": "unknown", "code": error.code, "message": str(error)}
        except Refused as error:
            answer = {
                "status": "fail",
                "code": error.code,
                "message": str(error),
                "leader": getattr(error, "leader", None),
            }
            if getattr(error, "cause", None):
                answer["cause"] = error.cause
        except TenureError as error:
            answer = {"status": "unknown", "code": error.code, "message": str(error)}
        answer["pid"] = os.getpid()
        answer["answered_ns"] = time.monotonic_ns()
        return answer

    # ---- the store

    def propose(self, command: bytes, request: dict) -> object:
        value = self.engine.propose(command, timeout=request.get("timeout", 5.0)).value
        return None if value is None else codec.decode_result(value)

    @staticmethod
    def hint() -> int:
        return codec.hint(time.time_ns() // 1_000_000)

    def do_set(self, request: dict) -> dict:
        result = self.propose(
            codec.encode_set(request["key"].encode(), request["value"].encode(), hint_ts=self.hint()), request
        )
        assert result is True, result
        return {"out": "OK"}

    def do_incr(self, request: dict) -> dict:
        result = self.propose(
            codec.encode_incrby(request["key"].encode(), request["value"] or 1, hint_ts=self.hint()), request
        )
        return {"out": "error" if isinstance(result, codec.CommandError) else result}

    def do_cas(self, request: dict) -> dict:
        expected, new = request["value"]
        command = codec.encode_cas(
            request["key"].encode(), None if expected is None else expected.encode(), new.encode(), hint_ts=self.hint()
        )
        return {"out": bool(self.propose(command, request))}

    def do_del(self, request: dict) -> dict:
        return {"out": self.propose(codec.encode_del([request["key"].encode()], hint_ts=self.hint()), request)}

    def do_get(self, request: dict) -> dict:
        mode = request.get("mode", "lease")
        state = str(self.engine.state) if request.get("with_state") else None
        index = None
        how = "lease"
        if mode != "read_index":
            index = self.engine.try_lease_read()
        if index is None:
            if mode == "lease_only":
                return {"status": "fail", "code": LeaseUnavailable.code, "state": state}
            index = self.engine.linearizable_read(timeout=request.get("timeout", 5.0))
            how = "read_index"
        value = self.machine.get(request["key"].encode())
        return {"out": None if value is None else value.decode(), "how": how, "index": index, "state": state}

    # ---- the member

    def do_status(self, request: dict) -> dict:
        status = self.engine.status()
        return {
            "member": status.member_id,
            "state": str(status.state),
            "term": status.term,
            "leader": status.leader,
            "commit": status.commit_index,
            "applied": status.applied_index,
            "state_hash": self.machine.state_hash,
            "applied_after": self.engine.applied_index,  # the hash is of `applied` when this is the same
            "last": status.last_index,
            "first": status.first_index,
            "build": str(Path(tenure.__file__).parent),
            "lease_ns": status.lease_remaining_ns,
            "failure": status.failure,
            "redis": self.engine.redis_address,
            "counters": dict(status.counters),
        }

    def do_campaign(self, request: dict) -> dict:
        from tenure._host.core import CAMPAIGN

        return {"out": list(self.engine._core.call(CAMPAIGN, None, 0, time.monotonic_ns() + 1_000_000_000) or ())[:1]}

    def do_transfer(self, request: dict) -> dict:
        return {"out": self.engine.transfer_leadership(request.get("target"), timeout=2.0)}

    def do_change(self, request: dict) -> dict:
        """Change the group; answers who votes and who follows then."""
        changes = [MemberChange(Change[one["change"]], one["id"], one.get("address")) for one in request["changes"]]
        found = self.engine.change_members(changes, timeout=request.get("timeout", 5.0))
        return {"voters": list(found.voters), "learners": list(found.learners)}

    def do_group(self, request: dict) -> dict:
        found = self.engine.configuration()
        return {"voters": list(found.voters), "learners": list(found.learners), "joint": found.joint}

    def do_snapshot(self, request: dict) -> dict:
        return {"out": self.engine.take_snapshot(timeout=5.0)}

    def do_hold_gil(self, request: dict) -> dict:
        """One C call that does not let go of the GIL; on a free-threaded interpreter it holds nobody up."""
        began = time.monotonic_ns()
        ctypes.PyDLL(None).usleep(int(request["seconds"] * 1e6))
        return {"out": time.monotonic_ns() - began}

    def do_garbage(self, request: dict) -> dict:
        """Cycles by the hundred thousand, collected again and again."""
        end = time.monotonic() + request["seconds"]
        rounds = 0
        while time.monotonic() < end:
            rings = []
            for _ in range(100_000):
                ring: list = []
                ring.append(ring)
                rings.append(ring)
            del rings
            gc.collect()
            rounds += 1
        return {"out": rounds}

    def do_fault(self, request: dict) -> dict:
        return storage_fault(request)


def storage_fault(request: dict) -> dict:
    """Faults of the disk that begin while the member runs."""
    from tenure._storage import file_faults

    getattr(file_faults, request["what"])(*request.get("arguments", []))
    return {}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", required=True)
    parser.add_argument("--id", type=int, required=True)
    parser.add_argument("--members", required=True, help='JSON: {"1": "127.0.0.1:7001", ...}')
    parser.add_argument("--bootstrap", default="null", help="JSON: the voters that the group began with")
    parser.add_argument("--door", type=int, required=True, help="the socket where the tests' clients are listened for")
    parser.add_argument("--config", default="{}", help="JSON: fields of Config")
    parser.add_argument("--io-threads", type=int, default=0, help="that serve Redis clients")
    parser.add_argument("--lifetime", type=int, default=300, help="seconds after which this process ends itself")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    # Whatever happens to the tests, this process ends: with its parent, even while stopped, or when its time is up.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        sys.exit("the tests are gone")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(arguments.lifetime)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    sys.setswitchinterval(0.001)
    logging.basicConfig(
        format="%(asctime)s.%(msecs)03d %(levelname)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO
    )

    faults = os.environ.get("TENURE_STORAGE_FAULTS")
    if faults:
        from tenure._storage import file_faults

        file_faults.configure(faults)  # before anything is opened
    machine = KeyValueMachine()
    began_with = json.loads(arguments.bootstrap)
    bootstrap = {} if began_with is None else {"bootstrap": began_with}  # older builds do not know it
    engine = NativeEngine(
        machine,
        directory=arguments.directory,
        cluster_id=b"faults-test-0001",
        member_id=arguments.id,
        members={int(id): address for id, address in json.loads(arguments.members).items()},
        config=Config(**json.loads(arguments.config)),
        redis="127.0.0.1:0",
        io_threads=arguments.io_threads,
        **bootstrap,
    )
    server = Server(engine, machine, arguments.door)
    signal.signal(signal.SIGTERM, lambda *_: server.stopping.set())
    threading.Thread(target=server.run, daemon=True).start()
    print(json.dumps({"port": server.port, "pid": os.getpid(), "expiry_checked": expiry_is_checked()}), flush=True)
    while not server.stopping.wait(0.1):  # short naps: a signal handler runs between them
        pass
    began = time.monotonic()
    engine.close()
    closed = time.monotonic()
    answered = server.drain()
    logger.info("closed after %.3f s, everybody answered after %.3f s", closed - began, time.monotonic() - began)
    os._exit(0 if answered else 3)


if __name__ == "__main__":
    main()
