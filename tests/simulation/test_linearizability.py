"""The checker against planted anomalies, against histories of a real register, and against its own bounds."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tenure.sim import HistoryError, Operation, Report, Verdict, check


class Script:
    """Writes a history down: `at(call, ret, client)` then what was asked and answered."""

    def __init__(self) -> None:
        self.history: list[Operation] = []

    def _add(self, op, key, value, out, span, client, status):  # type: ignore[no-untyped-def]
        call, ret = span
        self.history.append(Operation(client, op, key, value, out, call, None if status == "unknown" else ret, status))

    def set(self, value, span, client="a", status="ok", key="k"):  # type: ignore[no-untyped-def]
        self._add("set", key, value, None, span, client, status)

    def get(self, out, span, client="b", key="k"):  # type: ignore[no-untyped-def]
        self._add("get", key, None, out, span, client, "ok")

    def incr(self, out, span, client="a", status="ok", delta=None, key="k"):  # type: ignore[no-untyped-def]
        self._add("incr", key, delta, out, span, client, status)

    def cas(self, expected, new, out, span, client="a", status="ok", key="k"):  # type: ignore[no-untyped-def]
        self._add("cas", key, (expected, new), out, span, client, status)

    def delete(self, out, span, client="a", status="ok", key="k"):  # type: ignore[no-untyped-def]
        self._add("del", key, None, out, span, client, status)


@pytest.fixture
def script() -> Script:
    return Script()


def verdict_of(script: Script) -> Verdict:
    return check(script.history).verdict


def violation_of(script: Script) -> Report:
    report = check(script.history)
    assert report.verdict is Verdict.VIOLATION
    assert report.violation is not None
    return report


# ---- planted anomalies, each beside the history that differs by the anomaly alone -----------------------------------


@pytest.mark.parametrize(("answer", "verdict"), [("2", Verdict.LINEARIZABLE), ("1", Verdict.VIOLATION)])
def test_stale_read(script: Script, answer: str, verdict: Verdict) -> None:
    script.set("1", (0, 10))
    script.set("2", (20, 30))
    script.get(answer, (40, 50))
    assert verdict_of(script) is verdict


@pytest.mark.parametrize(("call", "verdict"), [(30, Verdict.LINEARIZABLE), (31, Verdict.VIOLATION)])
def test_operations_that_touch_in_time_are_concurrent(script: Script, call: int, verdict: Verdict) -> None:
    script.set("1", (0, 10))
    script.set("2", (20, 30))
    script.get("1", (call, 50))
    assert verdict_of(script) is verdict


@pytest.mark.parametrize(("second", "verdict"), [(2, Verdict.LINEARIZABLE), (1, Verdict.VIOLATION)])
def test_lost_update(script: Script, second: int, verdict: Verdict) -> None:
    script.incr(1, (0, 30), "a")
    script.incr(second, (10, 40), "b")
    assert verdict_of(script) is verdict


@pytest.mark.parametrize(("status", "verdict"), [("unknown", Verdict.LINEARIZABLE), ("fail", Verdict.VIOLATION)])
def test_read_of_a_failed_write(script: Script, status: str, verdict: Verdict) -> None:
    script.set("1", (0, 10))
    script.set("2", (20, 30), status=status)
    script.get("2", (40, 50))
    assert verdict_of(script) is verdict


@pytest.mark.parametrize(
    ("answer", "verdict"), [(2, Verdict.LINEARIZABLE), (1, Verdict.LINEARIZABLE), (3, Verdict.VIOLATION)]
)
def test_unknown_increment_applies_at_most_once(script: Script, answer: int, verdict: Verdict) -> None:
    script.incr(1, (0, 10))
    script.incr(None, (20, 30), status="unknown")
    script.get(str(answer), (40, 50))
    assert verdict_of(script) is verdict


def test_double_apply_of_an_answered_increment(script: Script) -> None:
    script.incr(1, (0, 10))
    script.get("2", (20, 30))
    assert verdict_of(script) is Verdict.VIOLATION


@pytest.mark.parametrize(("third", "verdict"), [("2", Verdict.LINEARIZABLE), ("1", Verdict.VIOLATION)])
def test_reads_go_back_across_clients_while_the_write_is_open(script: Script, third: str, verdict: Verdict) -> None:
    script.set("1", (0, 10))
    script.set("2", (20, 100))
    script.get("2", (30, 40), "b")
    script.get(third, (50, 60), "c")
    assert verdict_of(script) is verdict


@pytest.mark.parametrize(("second", "verdict"), [(False, Verdict.LINEARIZABLE), (True, Verdict.VIOLATION)])
def test_two_cas_from_one_value_cannot_both_succeed(script: Script, second: bool, verdict: Verdict) -> None:
    script.set("1", (0, 10))
    script.cas("1", "2", True, (20, 40), "a")
    script.cas("1", "3", second, (20, 40), "b")
    assert verdict_of(script) is verdict


def test_cas_that_failed_although_its_value_stood_throughout(script: Script) -> None:
    script.set("1", (0, 10))
    script.cas("1", "2", False, (20, 40))
    assert verdict_of(script) is Verdict.VIOLATION


@pytest.mark.parametrize(("answer", "verdict"), [(None, Verdict.LINEARIZABLE), ("1", Verdict.VIOLATION)])
def test_deleted_value_resurrects(script: Script, answer: str | None, verdict: Verdict) -> None:
    script.set("1", (0, 10))
    script.delete(1, (20, 30))
    script.get(None, (40, 50))
    script.get(answer, (60, 70))
    assert verdict_of(script) is verdict


@pytest.mark.parametrize(("second", "verdict"), [(0, Verdict.LINEARIZABLE), (1, Verdict.VIOLATION)])
def test_one_key_is_deleted_once(script: Script, second: int, verdict: Verdict) -> None:
    script.set("1", (0, 10))
    script.delete(1, (20, 40), "a")
    script.delete(second, (20, 40), "b")
    assert verdict_of(script) is verdict


@pytest.mark.parametrize(("third", "verdict"), [("2", Verdict.LINEARIZABLE), ("1", Verdict.VIOLATION)])
def test_unknown_write_appears_then_disappears(script: Script, third: str, verdict: Verdict) -> None:
    script.set("1", (0, 10))
    script.set("2", (20, 30), status="unknown")
    script.get("1", (40, 50))
    script.get("2", (60, 70))
    script.get(third, (80, 90))
    assert verdict_of(script) is verdict


@pytest.mark.parametrize(("call", "verdict"), [(55, Verdict.LINEARIZABLE), (61, Verdict.VIOLATION)])
def test_unknown_write_is_seen_before_it_was_called(script: Script, call: int, verdict: Verdict) -> None:
    script.get("2", (50, 60))
    script.set("2", (call, call + 10), status="unknown")
    assert verdict_of(script) is verdict


def test_read_of_a_value_that_nobody_wrote(script: Script) -> None:
    script.set("1", (0, 10))
    script.get("7", (20, 30))
    assert verdict_of(script) is Verdict.VIOLATION


def test_unknown_write_of_an_unread_value_explains_a_failed_cas(script: Script) -> None:
    script.set("1", (0, 10))
    script.set("unread", (20, 30), status="unknown")
    script.cas("1", "2", False, (40, 50))
    script.delete(1, (60, 70))
    assert verdict_of(script) is Verdict.LINEARIZABLE


def test_one_unknown_write_explains_one_deletion_only(script: Script) -> None:
    script.set("x", (0, 10), status="unknown")
    script.delete(1, (20, 30))
    script.delete(1, (40, 50))
    assert verdict_of(script) is Verdict.VIOLATION
    script.set("y", (0, 10), "c", status="unknown")
    assert verdict_of(script) is Verdict.LINEARIZABLE


def test_unknown_write_is_met_by_an_unknown_cas_alone(script: Script) -> None:
    script.set("x", (0, 1), status="unknown")
    script.cas("x", "y", None, (5, 6), "b", status="unknown")
    script.get(None, (10, 20))
    script.get("y", (30, 40))
    assert verdict_of(script) is Verdict.LINEARIZABLE
    script.get("x", (50, 60))
    assert verdict_of(script) is Verdict.VIOLATION


# ---- the model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "out", "verdict"),
    [
        ("5", 6, Verdict.LINEARIZABLE),
        (5, 6, Verdict.LINEARIZABLE),
        ("-1", 0, Verdict.LINEARIZABLE),
        ("5", "error", Verdict.VIOLATION),
        ("05", "error", Verdict.LINEARIZABLE),
        ("-0", "error", Verdict.LINEARIZABLE),
        ("+5", "error", Verdict.LINEARIZABLE),
        ("", "error", Verdict.LINEARIZABLE),
        ("x", "error", Verdict.LINEARIZABLE),
        ("x", 1, Verdict.VIOLATION),
        ("9223372036854775808", "error", Verdict.LINEARIZABLE),
    ],
)
def test_increment_reads_integers_in_their_shortest_form(script: Script, held, out, verdict) -> None:  # type: ignore[no-untyped-def]
    script.set(held, (0, 10))
    script.incr(out, (20, 30))
    assert verdict_of(script) is verdict


def test_integers_and_their_texts_are_one_value(script: Script) -> None:
    script.incr(-3, (0, 10), delta=-3)
    script.get("-3", (20, 30))
    script.get(-3, (30, 40))
    script.set(1 << 62, (0, 10), key="large")
    script.get(str(1 << 62), (20, 30), key="large")
    assert verdict_of(script) is Verdict.LINEARIZABLE


def test_counting_beyond_exact_integers_is_refused(script: Script) -> None:
    script.set(1 << 61, (0, 10))
    script.incr((1 << 61) + 1, (20, 30))
    with pytest.raises(HistoryError, match="2\\^60"):
        check(script.history)


def test_sums_beyond_exact_integers_are_refused(script: Script) -> None:
    script.incr(1 << 59, (0, 10), delta=1 << 59)
    script.incr(None, (20, 30), delta=1 << 59, status="unknown")
    with pytest.raises(HistoryError, match="2\\^60"):
        check(script.history)


def test_cas_from_absence(script: Script) -> None:
    script.cas(None, "1", True, (0, 10))
    script.cas(None, "2", False, (20, 30))
    script.get("1", (40, 50))
    assert verdict_of(script) is Verdict.LINEARIZABLE


def test_keys_are_judged_apart(script: Script) -> None:
    script.set("1", (0, 10), key="x")
    script.get(None, (20, 30), key="y")
    assert verdict_of(script) is Verdict.LINEARIZABLE
    script.get(None, (20, 30), key="x")
    report = violation_of(script)
    assert report.violation is not None
    assert report.violation.key == "x"


def test_empty_history() -> None:
    report = check([])
    assert (report.verdict, report.operations, report.keys) == (Verdict.LINEARIZABLE, 0, 0)


def test_report_has_no_truth_value() -> None:
    with pytest.raises(TypeError):
        bool(check([]))


def test_operation_without_meaning_is_named(script: Script) -> None:
    script.set("1", (0, 10))
    script.get("1", (30, 20))
    with pytest.raises(HistoryError) as caught:
        check(script.history)
    assert caught.value.line == 2


# ---- explanations ---------------------------------------------------------------------------------------------------


def test_violation_shows_prefix_value_and_what_is_stuck(script: Script) -> None:
    for number in range(20):
        script.set(str(number), (number * 10, number * 10 + 5))
    script.set("open", (201, 300), "c")
    script.get("3", (210, 220))
    script.get("later", (400, 410))
    report = violation_of(script)
    violation = report.violation
    assert violation is not None
    assert violation.stuck == script.history[21]
    assert list(violation.prefix) == script.history[:20]
    assert violation.state == '"19"'
    assert set(violation.unplaced) == {script.history[20], script.history[21]}
    text = violation.render()
    assert "STUCK" in text
    assert 'get -> "3"' in text.replace('\\"', '"')
    assert "12 earlier operations" in text
    assert all(len(line) < 160 for line in text.splitlines())


def test_prefix_of_a_violation_is_itself_linearizable_and_follows_its_order() -> None:
    seen = 0
    for seed in range(200):
        chance = random.Random(seed)
        history = list(register_history(chance, operations=40, clients=5, keys=1, unknown=0.1))
        history = spoil(history, chance)
        report = check(history)
        if report.verdict is not Verdict.VIOLATION:
            continue
        violation = report.violation
        assert violation is not None
        assert replay(violation.prefix) == violation.state
        for earlier, later in zip(violation.prefix, violation.prefix[1:], strict=False):
            assert not (later.status == "ok" and later.ret_ns is not None and later.ret_ns < earlier.call_ns)
        kept = {*map(id, violation.prefix), *map(id, violation.unplaced)}
        assert check([one for one in history if id(one) in kept]).verdict is Verdict.VIOLATION
        return_ns = violation.stuck.ret_ns
        assert return_ns is not None
        still_open = [replace(one, status="unknown") for one in history if (one.ret_ns or 0) >= return_ns]
        returned = [one for one in history if (one.ret_ns or 0) < return_ns]
        assert check(returned + still_open).verdict is Verdict.LINEARIZABLE
        seen += 1
    assert seen > 50


def test_hostile_texts_do_not_reach_the_terminal(script: Script) -> None:
    script.set("\x1b[2J\ud800", (0, 10), client="\x1b]0;x\x07", key="\x1b[31m")
    script.get(None, (20, 30), key="\x1b[31m")
    report = violation_of(script)
    assert report.violation is not None
    text = report.violation.render()
    assert text.isascii()
    assert text.replace("\n", "").isprintable()


# ---- bounds ---------------------------------------------------------------------------------------------------------


def crowded(clients: int) -> list[Operation]:
    """Every client writes at once, and then two reads that no order allows: every order has to be tried."""
    history = [Operation(client, "cas", "k", ("no", str(client)), False, 0, 100, "ok") for client in range(3)]
    history += [Operation(client, "set", "k", str(client), None, 0, 100, "ok") for client in range(clients)]
    history += [Operation("r", "get", "k", None, str(client), 110, 120, "ok") for client in range(2)]
    return history


def test_small_crowd_is_decided() -> None:
    assert check(crowded(8)).verdict is Verdict.VIOLATION


@pytest.mark.parametrize("bounds", [{"max_steps": 10_000}, {"max_bytes": 100_000}])
def test_bound_makes_undecided_never_linearizable(bounds: dict[str, int]) -> None:
    report = check(crowded(24), **bounds)
    assert report.verdict is Verdict.UNDECIDED
    assert report.undecided_keys == ("k",)
    assert report.violation is None


def test_violation_elsewhere_wins_over_undecided(script: Script) -> None:
    script.get("1", (0, 10), key="other")
    report = check(crowded(24) + script.history, max_steps=10_000)
    assert report.verdict is Verdict.VIOLATION


def test_correct_history_without_choice_is_never_undecided(script: Script) -> None:
    for number in range(1000):
        script.set(str(number), (number * 10, number * 10 + 5))
        script.get(str(number), (number * 10 + 6, number * 10 + 9))
    assert check(script.history, max_steps=0, max_bytes=0).verdict is Verdict.LINEARIZABLE


def test_thousands_of_unknown_writes_of_unread_values_cost_nothing(script: Script) -> None:
    for number in range(5000):
        script.set(f"u{number}", (number * 10, 0), status="unknown")
        script.set(f"s{number}", (number * 10 + 1, number * 10 + 5))
        script.get(f"s{number}", (number * 10 + 6, number * 10 + 9))
    report = check(script.history, max_steps=0, max_bytes=0)
    assert report.verdict is Verdict.LINEARIZABLE
    script.get("never", (60_000, 60_001))
    assert verdict_of(script) is Verdict.VIOLATION


def test_many_unknown_increments_are_interchangeable(script: Script) -> None:
    for number in range(60):
        script.incr(None, (number, 0), status="unknown")
    script.get("41", (100, 110))
    script.get("61", (200, 210))
    report = violation_of(script)
    assert report.steps < 100_000


# ---- histories of a real register -----------------------------------------------------------------------------------


def replay(operations) -> str:  # type: ignore[no-untyped-def]
    """Runs operations in the given order and checks every answer; the value left, as JSON."""
    value: str | None = None
    for one in operations:
        value, out = applied(value, one.op, one.value)
        if one.status == "ok" and one.op != "set":
            expected = str(one.out) if one.op == "get" and one.out is not None else one.out
            assert out == expected, one
    return json.dumps(value)


def applied(value: str | None, op: str, argument):  # type: ignore[no-untyped-def]
    if op == "get":
        return value, value
    if op == "set":
        return str(argument), None
    if op == "del":
        return None, int(value is not None)
    if op == "cas":
        return (str(argument[1]), True) if value == argument[0] else (value, False)
    try:
        number = int(value or 0)
    except ValueError:
        return value, "error"
    number += 1 if argument is None else argument
    return str(number), number


def register_history(
    chance: random.Random, *, operations: int, clients: int, keys: int, unknown: float, values: int = 4
) -> Iterator[Operation]:
    """Clients with random delays around a real map: the instant of the effect lies between call and return, and an
    unknown operation may take effect long after its client gave up, or never."""
    agenda: list[tuple[int, int, Operation]] = []
    history = []
    free_at = [chance.randrange(100) for _ in range(clients)]
    for number in range(operations):
        client = min(range(clients), key=free_at.__getitem__)
        call = free_at[client]
        effect = call + chance.randrange(60)
        ret = effect + chance.randrange(60)
        op = chance.choice(["set", "get", "get", "incr", "cas", "del"])
        value = {
            "set": chance.choice([str(chance.randrange(values)), f"t{chance.randrange(values)}", f"unique{number}"]),
            "incr": chance.choice([None, 1, 2, -1]),
            "cas": (
                chance.choice([None, str(chance.randrange(values)), f"t{chance.randrange(values)}"]),
                str(chance.randrange(values)),
            ),
        }.get(op)
        status = "unknown" if chance.random() < unknown else "ok"
        if status == "unknown":
            effect += chance.choice([0, 0, 500, 1 << 40])
            client_name: str | int = f"{client}/{number}"
        else:
            client_name = client
        free_at[client] = ret + 1 + chance.randrange(20)
        key = f"key{chance.randrange(keys)}"
        one = Operation(client_name, op, key, value, None, call, ret, status)  # type: ignore[arg-type]
        agenda.append((effect, number, one))
        history.append(one)
    outs = {}
    held: dict[str, str | None] = {}
    for effect, number, one in sorted(agenda):
        if effect >= 1 << 40:
            continue
        held[one.key], outs[number] = applied(held.get(one.key), one.op, one.value)
    for number, one in enumerate(history):
        if one.status == "unknown":
            yield one
        else:
            yield Operation(one.client, one.op, one.key, one.value, outs[number], one.call_ns, one.ret_ns, "ok")


def spoil(history: list[Operation], chance: random.Random) -> list[Operation]:
    """Changes one answer."""
    reads = [number for number, one in enumerate(history) if one.op == "get" and one.status == "ok"]
    spoiled = list(history)
    if reads:
        at = chance.choice(reads)
        one = history[at]
        out = chance.choice([other.out for other in history if other.op == "get" and other.out != one.out] or ["none"])
        spoiled[at] = Operation(one.client, one.op, one.key, one.value, out, one.call_ns, one.ret_ns, "ok")
    return spoiled


@pytest.mark.parametrize("clients", [1, 3, 8, 20])
@pytest.mark.parametrize("unknown", [0.0, 0.05, 0.3])
def test_histories_of_a_real_register_are_linearizable(clients: int, unknown: float) -> None:
    for seed in range(60):
        chance = random.Random(f"{clients}/{unknown}/{seed}")
        history = list(register_history(chance, operations=150, clients=clients, keys=3, unknown=unknown))
        chance.shuffle(history)
        report = check(history)
        assert report.verdict is Verdict.LINEARIZABLE, (seed, report.violation and report.violation.render())
