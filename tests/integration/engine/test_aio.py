"""The engine under asyncio."""

import asyncio
import contextlib
import math
import sys
import threading
import time
from pathlib import Path

import pytest

from tenure import errors
from tenure.engine import State, aio


def test_writes_and_reads(three):
    leader = three.leader()

    async def main():
        result = await leader.aio.propose(b"a=1")
        assert (await leader.aio.propose(b"a=2")).value == b"1"
        assert await leader.aio.linearizable_read() > result.index
        assert await three.follower().aio.linearizable_read() > result.index
        await leader.aio.verify_leader()
        with pytest.raises(errors.NotLeader) as refusal:
            await three.follower().aio.propose(b"a=3")
        assert refusal.value.leader == leader.member_id
        assert await leader.aio.wait_for_leader() == leader.member_id

    asyncio.run(main())


def test_a_read_that_the_lease_covers_never_suspends(one):
    engine = one.engines[1]
    read = engine.aio.lease_read()
    with pytest.raises(StopIteration) as done:
        read.send(None)
    assert done.value.value >= 1


def test_a_read_without_a_lease_asks_a_quorum(three):
    index = three.leader().propose(b"a=1").index
    assert asyncio.run(three.follower().aio.lease_read()) >= index


def test_thousands_of_writes_at_once(three):
    leader = three.leader()

    async def main():
        results = await asyncio.gather(*(leader.aio.propose(b"%d=x" % i) for i in range(3000)))
        assert len({result.index for result in results}) == 3000

    asyncio.run(main())
    assert len(three.machines[leader.member_id].values) == 3000


def test_the_event_loop_goes_on_while_calls_wait(one):
    one.machines[1].gate.clear()

    async def main():
        write = asyncio.create_task(one.engines[1].aio.propose(b"a=1"))
        beats = 0
        for _ in range(20):
            await asyncio.sleep(0.005)
            beats += 1
        assert not write.done()
        one.machines[1].gate.set()
        await write
        assert beats == 20

    asyncio.run(main())


def test_cancelling_gives_up_and_nothing_else(three):
    leader = three.leader()

    async def main():
        tasks = [asyncio.create_task(leader.aio.propose(b"%d=x" % i)) for i in range(500)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(not isinstance(outcome, BaseException) for outcome in outcomes[1::2])
        assert any(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
        await leader.aio.linearizable_read()

    asyncio.run(main())
    assert len(three.machines[leader.member_id].values) == 500, "what was submitted takes effect all the same"


def test_a_late_write_is_unknown_and_a_late_read_times_out(one):
    one.machines[1].gate.clear()
    engine = one.engines[1]

    async def main():
        with pytest.raises(errors.OutcomeUnknown):
            await engine.aio.propose(b"a=1", timeout=0.1)
        with pytest.raises(errors.Timeout):
            await engine.aio.propose(b"a=1", timeout=0)
        one.machines[1].gate.set()
        await engine.aio.propose(b"b=1")

    asyncio.run(main())
    assert one.machines[1].values == {b"a": b"1", b"b": b"1"}


def test_reads_find_the_next_leader(three):
    leader = three.leader()
    follower = three.follower()
    index = leader.propose(b"a=1").index

    async def main():
        await leader.aio.close(graceful=False)
        assert await follower.aio.linearizable_read(timeout=10) > index

    asyncio.run(main())


def test_more_than_the_inbox_holds_is_refused(one, monkeypatch):
    engine = one.engines[1]
    one.machines[1].gate.clear()

    async def main():
        inbox = engine.aio._inbox()
        monkeypatch.setattr(inbox, "_capacity", 10)
        tasks = [asyncio.create_task(engine.aio.propose(b"%d=x" % i)) for i in range(12)]
        await asyncio.sleep(0.05)
        tasks[0].cancel()  # given up, but its completion is still to come
        refused = [task for task in tasks if task.done() and not task.cancelled()]
        assert len(refused) == 2
        assert all(task.exception().limit == "inbox" for task in refused)
        with pytest.raises(errors.Overloaded):
            await engine.aio.propose(b"x")
        one.machines[1].gate.set()
        await asyncio.gather(*tasks[1:10])
        await engine.aio.propose(b"x")
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


def test_each_event_loop_has_its_own_inbox(one):
    engine = one.engines[1]
    failures = []

    async def main(name):
        for i in range(50):
            await engine.aio.propose(b"%d-%d=x" % (name, i))

    def run(name):
        try:
            for _ in range(3):
                asyncio.run(main(name))
        except Exception as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert len(one.machines[1].values) == 200
    asyncio.run(main(9))
    assert len(engine.aio._inboxes) == 1, "closed loops are forgotten"


def test_an_event_loop_that_ends_with_calls_under_way_harms_nothing(one):
    engine = one.engines[1]
    one.machines[1].gate.clear()

    async def leave():
        tasks = [asyncio.ensure_future(engine.aio.propose(b"%d=x" % i)) for i in range(20)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in tasks)

    asyncio.run(leave())
    one.machines[1].gate.set()
    engine.linearizable_read()
    assert len(one.machines[1].values) == 20
    assert asyncio.run(engine.aio.propose(b"a=1")).value is None


def test_async_with_closes_without_blocking_the_loop(one):
    engine = one.engines[1]

    async def main():
        async with engine:
            await engine.aio.propose(b"a=1")
            one.machines[1].gate.clear()
            write = asyncio.create_task(engine.aio.propose(b"a=2"))
            await asyncio.sleep(0.05)
            threading.Timer(0.2, one.machines[1].gate.set).start()
            began = time.monotonic()
            closing = asyncio.create_task(engine.aio.close())
            await asyncio.sleep(0.05)
            assert time.monotonic() - began < 0.15
            await closing
            assert (await write).value == b"1"
        with pytest.raises(errors.Closed):
            await engine.aio.propose(b"a=3")

    asyncio.run(main())
    assert engine.state is State.CLOSED


@pytest.mark.parametrize("graceful", [True, False])
def test_closing_from_a_thread_answers_every_task(three, graceful):
    leader = three.leader()

    async def write(name):
        while True:
            await leader.aio.propose(b"%d=x" % name)

    async def main():
        tasks = [asyncio.create_task(write(name)) for name in range(50)]
        await asyncio.sleep(0.2)
        threading.Thread(target=leader.close, kwargs={"graceful": graceful}).start()
        outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        allowed = (errors.Closed, errors.NotLeader, errors.OutcomeUnknown)
        assert all(isinstance(outcome, allowed) for outcome in outcomes), outcomes

    asyncio.run(main())


def test_leadership_is_handed_over(three):
    leader = three.leader()
    target = three.follower().member_id
    assert asyncio.run(leader.aio.transfer_leadership(target)) == target


def test_a_limit_that_is_no_number_ends_nothing(one):
    """It used to say that the engine was closed while the member went on."""
    engine = one.engines[1]
    with pytest.raises(errors.InvalidArgument, match="timeout"):
        asyncio.run(engine.aio.close(timeout=math.nan))
    assert engine.propose(b"a=1").index > 1
    asyncio.run(engine.aio.close(timeout=math.inf))
    assert engine.state is State.CLOSED
    one.start(1)


class CtrlC:
    """Raises KeyboardInterrupt at one line of what hands calls and completions over; `came` says whether it did."""

    def __init__(self, at):
        self.left, self.came = at, False

    def __enter__(self):
        sys.settrace(self.look)
        return self

    def __exit__(self, *exc_info):
        sys.settrace(None)

    def look(self, frame, event, _):
        if frame.f_code.co_filename != aio.__file__ or frame.f_code.co_name not in ("submit", "_drain"):
            return None
        if event == "line" and self.left > 0:
            self.left -= 1
            if self.left == 0:
                self.came = True
                raise KeyboardInterrupt
        return self.look


def test_ctrl_c_in_the_middle_of_a_completion_loses_no_other(one):
    """An event loop that is run without `asyncio.run` gets it anywhere, and may be run on, to put things in order."""
    engine = one.engines[1]
    for at in range(1, 100):
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            tasks = [loop.create_task(engine.aio.propose(b"%d=x" % i, timeout=math.inf)) for i in range(3)]
            ctrl_c = CtrlC(at)
            with contextlib.suppress(KeyboardInterrupt), ctrl_c:
                loop.run_until_complete(asyncio.wait(tasks))
            _, left = loop.run_until_complete(asyncio.wait(tasks, timeout=10))
            assert not left, f"at line {at}"
            ends = [type(task.exception()) for task in tasks]
            assert ends.count(KeyboardInterrupt) <= 1
            assert set(ends) <= {type(None), KeyboardInterrupt}
            loop.run_until_complete(engine.aio.propose(b"after=x", timeout=10))
        if not ctrl_c.came:
            break
    assert at > 20


def wakeups():
    """How many descriptors there are by which threads are woken."""
    found = 0
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += "eventfd" in str(one.readlink())
    return found


def test_an_engine_that_ends_in_the_middle_of_a_call_leaves_nothing_with_the_event_loop(one):
    engine = one.engines[1]
    check = engine.check

    def check_before_the_end():
        check()
        engine.close()

    async def main():
        engine.check = check_before_the_end
        before = wakeups()
        with pytest.raises(errors.Closed):
            await engine.aio.propose(b"a=1")
        await asyncio.sleep(0.01)
        assert wakeups() == before

    asyncio.run(main())
