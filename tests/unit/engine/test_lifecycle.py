"""One end, however many ask for it, and how."""

import contextlib
import linecache
import math
import os
import random
import signal
import sys
import threading
import time

import pytest

from tenure.engine import lifecycle as module
from tenure.engine.lifecycle import Lifecycle
from tenure.errors import Closed, InvalidArgument, Timeout

from .fake_core import FakeCore


def test_closing_twice_stops_the_host_once():
    core = FakeCore()
    life = Lifecycle(core, 1.0)
    life.check()
    life.close()
    life.close()
    assert len(core.closed_with) == 1
    assert life.ended
    with pytest.raises(Closed):
        life.check()


def test_all_who_close_return_at_the_same_end():
    core = FakeCore(close_takes_s=0.2)
    life = Lifecycle(core, 5.0)
    returned = []

    def close():
        life.close()
        returned.append(life.ended)

    threads = [threading.Thread(target=close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert returned == [True] * 8
    assert len(core.closed_with) == 1


def test_patience_that_runs_out_makes_the_end_come_at_once():
    core = FakeCore(close_takes_s=60)
    life = Lifecycle(core, 60.0)
    began = time.monotonic()
    life.close(timeout=0.05)
    assert life.ended
    assert core.hurried.is_set()
    assert time.monotonic() - began < 2


def test_a_second_closer_may_hasten_the_first():
    core = FakeCore(close_takes_s=60)
    life = Lifecycle(core, 60.0)
    first = threading.Thread(target=life.close)
    first.start()
    while not core.closed_with:
        time.sleep(0.001)
    life.close(graceful=False)
    first.join(2)
    assert not first.is_alive()


def test_the_grace_given_reaches_the_host():
    core = FakeCore()
    Lifecycle(core, 9.0).close(timeout=4.0)
    ((at_once, limit_ns),) = core.closed_with
    assert not at_once
    assert 3_900_000_000 < limit_ns <= 4_000_000_000


def test_a_host_that_does_not_stop_is_reported(monkeypatch):
    monkeypatch.setattr(module, "LAST_CALL_S", 0.2)
    core = FakeCore()
    release = threading.Event()
    core.close = lambda at_once, limit_ns: release.wait(10)
    life = Lifecycle(core, 0.05)
    with pytest.raises(Timeout):
        life.close()
    release.set()
    life.close()


def test_ctrl_c_while_closing_makes_the_end_come_at_once(monkeypatch):
    core = FakeCore(close_takes_s=60)
    life = Lifecycle(core, 60.0)
    wait = life._ended.wait
    monkeypatch.setattr(life._ended, "wait", lambda timeout: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        life.close()
    assert wait(2)
    assert core.hurried.is_set() or core.closed_with[0][0]


class CtrlC:
    """Raises KeyboardInterrupt at one line of the functions named, where a signal may come as well as anywhere else."""

    def __init__(self, at, *names):
        self.left, self.names = at, names

    def __enter__(self):
        sys.settrace(self.look)
        return self

    def __exit__(self, *exc_info):
        sys.settrace(None)

    def look(self, frame, event, _):
        if frame.f_code.co_filename != module.__file__ or frame.f_code.co_name not in self.names:
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        # between the end of a `with` block and the release of its lock the interpreter looks for no signal
        if event == "line" and not line.startswith("with "):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self.look


@pytest.mark.parametrize("at", range(1, 30))
def test_ctrl_c_at_any_line_of_a_close_does_not_keep_the_next_one_from_ending(at):
    core = FakeCore()
    life = Lifecycle(core, 1.0)
    with contextlib.suppress(KeyboardInterrupt), CtrlC(at, "close", "begin"):
        life.close()
    life.close()
    assert life.ended
    assert len(core.closed_with) == 1


def test_a_signal_handler_may_close_what_its_thread_is_closing_wherever_it_is():
    closing = []

    def handler(*_):
        for life in closing:
            life.close()

    before = signal.signal(signal.SIGALRM, handler)
    try:
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            life = Lifecycle(FakeCore(), 5.0)
            closing.append(life)
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 3e-4))
            life.close()
            closing.clear()
            assert life.ended
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("limit_s", [math.inf, 1e300, 1e10])
def test_a_limit_may_be_as_large_as_one_likes(limit_s):
    core = FakeCore(close_takes_s=0.05)
    Lifecycle(core, 1.0).close(timeout=limit_s)
    ((at_once, limit_ns),) = core.closed_with
    assert not at_once
    assert limit_ns > 1_000_000_000
    assert not core.hurried.is_set()


def test_a_limit_that_is_no_number_is_refused_and_ends_nothing():
    core = FakeCore()
    life = Lifecycle(core, 1.0)
    with pytest.raises(InvalidArgument, match="timeout"):
        life.close(timeout=math.nan)
    life.check()
    life.close()


def test_a_host_is_stopped_also_when_nobody_can_say_whether_it_has_drained():
    core = FakeCore()
    life = Lifecycle(core, 1.0)
    life.before_stop(lambda: 1 / 0)
    life.close()
    assert len(core.closed_with) == 1


def test_a_graceful_end_waits_for_what_was_accepted():
    core = FakeCore()
    life = Lifecycle(core, 5.0)
    looks = []
    life.before_stop(lambda: len(looks) > 3 or looks.append(core.closed_with[:]))
    life.close()
    assert looks == [[]] * 4


def test_an_end_at_once_does_not():
    core = FakeCore()
    life = Lifecycle(core, 5.0)
    life.before_stop(lambda: False)
    began = time.monotonic()
    life.close(graceful=False)
    assert time.monotonic() - began < 2


def test_a_pump_that_closes_its_own_engine_does_not_wait_for_itself():
    core = FakeCore()
    life = Lifecycle(core, 5.0)
    went_on = threading.Event()

    def body():
        life.close()
        went_on.set()

    life.pump("pump", body)
    assert went_on.wait(2)
    life.close()
    assert life.ended


def test_tasks_of_the_end_run_even_when_one_fails_or_comes_late():
    life = Lifecycle(FakeCore(), 1.0)
    ran = []
    life.at_end(lambda: 1 / 0)
    life.at_end(lambda: ran.append("early"))
    life.close()
    life.at_end(lambda: ran.append("late"))
    assert ran == ["early", "late"]


def test_what_was_left_open_is_closed_at_exit_side_by_side():
    cores = [FakeCore(close_takes_s=0.3) for _ in range(4)]
    lives = [Lifecycle(core, 5.0) for core in cores]
    began = time.monotonic()
    module.close_what_is_open()
    assert all(life.ended for life in lives)
    assert time.monotonic() - began < 1.0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_ends_nothing():
    core = FakeCore()
    life = Lifecycle(core, 1.0)
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        life.close()
        life.abandon()
        module.close_what_is_open()
        os._exit(0 if not core.closed_with and life.forked else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    life.check()
    life.close()
