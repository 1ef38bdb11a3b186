"""The end of an engine: under load, from many threads, in a fork, at exit, by a signal."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
import weakref
from pathlib import Path

import pytest

import tenure
from tenure import errors
from tenure.engine import State

from .cluster import free_addresses

SOURCE = Path(tenure.__file__).parent.parent


def test_after_the_end_every_call_says_so(one):
    engine = one.engines[1]
    engine.close()
    calls = [
        lambda: engine.propose(b"a=1"),
        engine.linearizable_read,
        engine.lease_read,
        engine.verify_leader,
        engine.transfer_leadership,
        engine.wait_for_leader,
        engine.status,
        engine.configuration,
        lambda: engine.register_leader_loss_callback(print),
        engine.__enter__,
    ]
    for call in calls:
        with pytest.raises(errors.Closed):
            call()
    assert engine.try_lease_read() is None
    assert engine.state is State.CLOSED
    assert engine.leader is None
    assert engine.last_quorum_ack_ns == 0
    assert engine.lease_duration_ns > 0
    engine.close()


def test_a_with_block_closes(one):
    with one.engines[1] as engine:
        engine.propose(b"a=1")
    assert engine.state is State.CLOSED
    one.start(1)


@pytest.mark.parametrize("graceful", [True, False])
def test_closing_under_load_answers_everybody(three, graceful):
    leader = three.leader()
    written = [0] * 8
    ends = []

    def write(name):
        while True:
            try:
                leader.propose(b"%d=%d" % (name, written[name]))
            except errors.TenureError as end:
                ends.append(end)
                return
            written[name] += 1

    def read():
        while True:
            try:
                leader.linearizable_read()
            except errors.TenureError as end:
                ends.append(end)
                return

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    threads += [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    leader.close(graceful=graceful)
    took = time.monotonic() - began
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)
    assert took < 3.0
    assert len(ends) == 12
    allowed = (errors.Closed, errors.NotLeader, errors.OutcomeUnknown)
    assert all(isinstance(end, allowed) for end in ends), ends
    successor = three.leader(among=[id for id in three.members if id != leader.member_id])
    successor.linearizable_read()
    values = three.machines[successor.member_id].values
    for name, count in enumerate(written):
        if count:
            assert int(values[b"%d" % name]) >= count - 1, "what was acknowledged is there"


def test_many_threads_that_close_return_at_the_same_end(three):
    engine = three.leader()
    states = []

    def close():
        engine.close()
        states.append(engine._lifecycle.ended)

    threads = [threading.Thread(target=close) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert states == [True] * 10


def test_a_graceful_end_waits_for_a_machine_that_is_still_applying(one):
    engine, machine = one.engines[1], one.machines[1]
    machine.gate.clear()
    results = []
    writer = threading.Thread(target=lambda: results.append(engine.propose(b"a=1")))
    writer.start()
    while engine.status().last_index < 2:
        time.sleep(0.005)
    closer = threading.Thread(target=engine.close)
    closer.start()
    time.sleep(0.1)
    machine.gate.set()
    closer.join(5)
    writer.join(5)
    assert len(results) == 1
    assert machine.values == {b"a": b"1"}


def test_a_machine_that_hangs_does_not_hang_the_end(one):
    engine, machine = one.engines[1], one.machines[1]
    machine.gate.clear()
    ends = []

    def write():
        try:
            engine.propose(b"a=1")
        except errors.OutcomeUnknown as end:
            ends.append(end)

    writer = threading.Thread(target=write)
    writer.start()
    while engine.status().last_index < 2:
        time.sleep(0.005)
    began = time.monotonic()
    engine.close(timeout=0.3)
    assert time.monotonic() - began < 3.0
    writer.join(2)
    assert len(ends) == 1
    machine.gate.set()


def test_a_callback_may_close_its_engine(three):
    leader = three.leader()
    leader.register_leader_loss_callback(leader.close)
    with contextlib.suppress(errors.Closed):  # the end may come before the successor is known
        leader.transfer_leadership(three.follower().member_id)
    deadline = time.monotonic() + 5
    while not leader._lifecycle.ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert leader._lifecycle.ended


def test_an_engine_that_was_forgotten_is_closed_and_its_directory_free(one, caplog):
    engine = one.engines.pop(1)
    lifecycle, gone = engine._lifecycle, weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None
    lifecycle.close()
    assert "not closed" in caplog.text
    one.start(1)
    one.leader()


def test_no_thread_and_no_descriptor_is_left(clusters):
    def count():
        gc.collect()
        return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    def round_trip():
        cluster = clusters(3)
        cluster.leader().propose(b"a=1")
        cluster.close()

    round_trip()
    before = count()
    for _ in range(3):
        round_trip()
    assert count() == before


# ------------------------------------------------------------------------------------------------------- processes

PRELUDE = """
    import os, signal, sys, threading, time
    from tenure import errors
    from tenure.config import Config
    from tenure.engine import NativeEngine, State

    class Machine:
        def apply(self, batch):
            time.sleep(float(os.environ.get("APPLY_S", "0")))
            return [command.data for command in batch]

    def open_engine():
        engine = NativeEngine(
            Machine(), directory=sys.argv[1], cluster_id=bytes(16), member_id=1, members={1: sys.argv[2]},
            config=Config(heartbeat_s=0.05, election_timeout_s=0.4, segment_bytes=4 << 20),
        )
        while engine.try_lease_read() is None:
            time.sleep(0.005)
        return engine
"""


def start_process(folder, body, **environment):
    program = textwrap.dedent(PRELUDE) + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder / "member"), free_addresses([1])[1]],
        env=os.environ | {"PYTHONPATH": str(SOURCE)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, *, silent=True):
    """What the process printed; unless told otherwise, it may have had nothing to complain of."""
    try:
        output, complaints = process.communicate(timeout=20)
    finally:
        process.kill()
    assert not (silent and complaints), complaints
    return output


def test_ctrl_c_ends_the_wait_of_a_write(tmp_path):
    process = start_process(
        tmp_path,
        """
        engine = open_engine()
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        try:
            engine.propose(b"slow", timeout=30)
        except KeyboardInterrupt:
            print("interrupted", time.monotonic() - began < 1.0)
        engine.close(timeout=0.2)
        print("closed")
        """,
        APPLY_S="1.5",
    )
    assert finish(process, silent=False).split() == ["interrupted", "True", "closed"]
    assert process.returncode == 0


def test_exiting_closes_what_was_left_open(tmp_path):
    process = start_process(
        tmp_path,
        """
        engine = open_engine()
        print(engine.propose(b"x").value)
        engine.register_leader_loss_callback(lambda: print("lost", flush=True))
        """,
    )
    assert finish(process).split() == ["b'x'", "lost"]
    assert process.returncode == 0


def test_exiting_under_load_does_not_hang(tmp_path):
    process = start_process(
        tmp_path,
        """
        engine = open_engine()
        def write():
            try:
                while True:
                    engine.propose(b"x")
            except errors.TenureError as end:
                pass
        for _ in range(4):
            threading.Thread(target=write, daemon=True).start()
        time.sleep(0.3)
        print("bye")
        """,
    )
    assert finish(process).split() == ["bye"]
    assert process.returncode == 0


def test_a_signal_while_closing_is_obeyed_at_once(tmp_path):
    process = start_process(
        tmp_path,
        """
        engine = open_engine()
        threading.Thread(target=lambda: engine.propose(b"slow"), daemon=True).start()
        time.sleep(0.1)
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        try:
            engine.close(timeout=60)
        except KeyboardInterrupt:
            print("interrupted", time.monotonic() - began < 2.0, flush=True)
        os._exit(0)
        """,
        APPLY_S="20",
        # it ends in the middle of the end: of threads that nobody has joined by then there is nothing to say
        TSAN_OPTIONS=f"{os.environ.get('TSAN_OPTIONS', '')} report_thread_leaks=0",
    )
    assert finish(process, silent=False).split() == ["interrupted", "True"]


@pytest.mark.parametrize("way", ["os.fork()", "multiprocessing"])
def test_a_forked_child_gets_an_error_and_harms_nothing(tmp_path, way):
    process = start_process(
        tmp_path,
        f"""
        import asyncio, multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        engine = open_engine()
        engine.propose(b"x")

        def child():
            calls = [lambda: engine.propose(b"y"), engine.linearizable_read, engine.lease_read, engine.status,
                     engine.verify_leader, engine.transfer_leadership, engine.configuration,
                     lambda: asyncio.run(engine.aio.propose(b"y")), lambda: asyncio.run(engine.aio.lease_read())]
            for call in calls:
                try:
                    call()
                except errors.ForkedProcess:
                    continue
                print("no error", call)
            assert engine.try_lease_read() is None
            assert engine.state is State.CLOSED
            engine.close()
            asyncio.run(engine.aio.close())
            print("child done", flush=True)

        if {way!r} == "os.fork()":
            pid = os.fork()
            if pid == 0:
                child()
                sys.exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        else:
            context = multiprocessing.get_context("fork")
            other = context.Process(target=child)
            other.start()
            other.join()
            code = other.exitcode
        print("child", code)
        print(engine.propose(b"z").value, engine.try_lease_read() is not None)
        engine.close()
        """,
    )
    assert finish(process).splitlines() == ["child done", "child 0", "b'z' True"]
    assert process.returncode == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_an_end_is_the_end_though_a_forked_child_lives_on(three):
    """The child has copies of the lock and of every socket; the directory, the port and the peers are free of them."""
    engine = three.leader()
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    try:
        engine.close()
        three.start(engine.member_id)
        index = three.leader().propose(b"a=1").index
        deadline = time.monotonic() + 10
        while three.engines[engine.member_id].applied_index < index:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_killed_process_locks_nobody_out_though_a_forked_child_lives_on(tmp_path):
    process = start_process(
        tmp_path,
        """
        import warnings
        engine = open_engine()
        engine.propose(b"x")
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
        if child == 0:
            spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
            grandchild = os.fork()
            if grandchild == 0:
                print(all(os.fstat(one) for one in spare), flush=True)
                os._exit(0)
            os.waitpid(grandchild, 0)
            devnull = os.open("/dev/null", os.O_WRONLY)
            os.dup2(devnull, 1)
            os.dup2(devnull, 2)
            time.sleep(60)
            os._exit(0)
        time.sleep(0.5)
        print(child, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    whole, child = finish(process, silent=False).split()
    try:
        assert whole == "True", "a second fork closed what was not the host's"
        again = start_process(tmp_path, 'engine = open_engine()\nprint(engine.propose(b"y").index)\nengine.close()')
        assert int(finish(again)) > 1
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_a_host_that_cannot_be_made_closes_nothing_else(tmp_path):
    """Out of descriptors, on each of the first ones that it asks for."""
    process = start_process(
        tmp_path,
        """
        import resource
        open_engine().close()
        before = os.fstat(0).st_ino
        taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
        free = max(taken) + 1
        for spare in range(5):
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + spare, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            try:
                open_engine()
            except (MemoryError, OSError, errors.TenureError):
                print(spare, os.fstat(0).st_ino == before)
        """,
    )
    assert finish(process).split() == ["0", "True", "1", "True", "2", "True", "3", "True", "4", "True"]


def test_a_killed_process_leaves_what_it_acknowledged(tmp_path):
    process = start_process(
        tmp_path,
        """
        engine = open_engine()
        print(engine.propose(b"x").index, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    index = int(finish(process))
    assert process.returncode == -signal.SIGKILL
    again = start_process(
        tmp_path,
        """
        engine = open_engine()
        print(engine.applied_index)
        engine.close()
        """,
    )
    assert int(finish(again)) > index


@pytest.mark.figures
@pytest.mark.skipif(bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="its allocator has room of its own")
def test_a_machine_that_would_miss_a_batch_for_want_of_memory_stops_its_member(tmp_path):
    """Else it would go on leading, with a lease, and never apply anything again."""
    process = start_process(
        tmp_path,
        """
        import resource

        applying, gate = threading.Event(), threading.Event()

        def apply(self, batch):
            applying.set()
            gate.wait()
            return [None] * len(batch)

        Machine.apply = apply
        large = dict(max_message_bytes=40 << 20, max_frame_bytes=100 << 20, max_queued_bytes=100 << 20)
        engine = NativeEngine(
            Machine(), directory=sys.argv[1], cluster_id=bytes(16), member_id=1, members={1: sys.argv[2]},
            config=Config(max_uncommitted_bytes=200 << 20, segment_bytes=100 << 20, stall_limit_s=60, **large),
        )
        engine.wait_for_leader()
        unlimited = resource.RLIM_INFINITY
        ends = []

        def write(command):
            try:
                ends.append(engine.propose(command, timeout=30))
            except errors.TenureError as end:
                ends.append(end)

        writers = [threading.Thread(target=write, args=(b"small",))]
        writers[0].start()
        applying.wait()
        large = bytes(36 << 20)
        for _ in range(3):  # more than the heap has room for without asking
            writers.append(threading.Thread(target=write, args=(large,)))
            writers[-1].start()
        while engine.status().commit_index < 5:
            time.sleep(0.005)

        def used():
            return int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")

        before = 0
        while before != used():  # what was only needed on the way is given back
            before = used()
            time.sleep(0.5)
        resource.setrlimit(resource.RLIMIT_AS, (used() + (6 << 20), unlimited))
        gate.set()
        for writer in writers:
            writer.join()
        resource.setrlimit(resource.RLIMIT_AS, (unlimited, unlimited))
        print(engine.state, engine.status().failure, engine.try_lease_read())
        print(*{type(end).__name__ for end in ends})
        engine.close()
        """,
    )
    state, told = finish(process, silent=False).splitlines()
    assert state == "failed memory None"
    # one large command may find the room that another one left
    assert set(told.split()) == {"ProposalResult", "OutcomeUnknown"}
