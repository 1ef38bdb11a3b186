"""What the store should do, in plain Python: a dictionary, and the rules of every command."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tenure._kv import codec
from tenure._kv.codec import CommandError

INT64 = range(-(2**63), 2**63)


@dataclass
class Model:
    last_ts: int = 0
    items: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)  # key -> (value, instant of its end or 0)

    @property
    def now_ms(self) -> int:
        return self.last_ts >> 16

    def live(self, key):
        found = self.items.get(key)
        return None if found is None or 0 < found[1] <= self.now_ms else found

    def value(self, key):
        found = self.live(key)
        return None if found is None else found[0]

    def write(self, key, value, until_ms=0):
        if 0 < until_ms <= self.now_ms:
            self.items.pop(key, None)
        else:
            self.items[key] = (value, until_ms)

    def apply(self, hint_ts, name, *args, **options):
        self.last_ts = max(hint_ts, self.last_ts + 1)
        return getattr(self, name)(*args, **options)

    def set(self, key, value, *, until_ms=0, nx=False, xx=False, get=False, keepttl=False):
        before = self.live(key)
        if keepttl and before is not None:
            until_ms = before[1]
        allowed = not (nx and before is not None) and not (xx and before is None)
        if allowed:
            self.write(key, value, until_ms)
        if get:
            return None if before is None else before[0]
        return True if allowed else None

    def getset(self, key, value):
        return self.set(key, value, get=True)

    def setnx(self, key, value):
        return int(self.set(key, value, nx=True) is True)

    def getdel(self, key):
        value = self.value(key)
        self.items.pop(key, None)
        return value

    def delete(self, keys):
        return sum(self.removed(key) for key in keys)

    def removed(self, key):
        was_live = self.live(key) is not None
        self.items.pop(key, None)
        return was_live

    def collect(self, keys):
        expired = {key for key in keys if key in self.items and self.live(key) is None}
        for key in expired:
            del self.items[key]
        return len(expired)

    def mset(self, pairs):
        for key, value in pairs:
            self.write(key, value)
        return True

    def append(self, key, value):
        before, until_ms = self.live(key) or (b"", 0)
        self.write(key, before + value, until_ms)
        return len(before + value)

    def incrby(self, key, delta):
        before, until_ms = self.live(key) or (b"0", 0)
        if not re.fullmatch(rb"0|-?[1-9][0-9]{0,18}", before) or int(before) not in INT64:
            return "not_an_integer"
        if int(before) + delta not in INT64:
            return "overflow"
        self.write(key, b"%d" % (int(before) + delta), until_ms)
        return int(before) + delta

    def cas(self, key, expected, value, *, until_ms=0, keepttl=False):
        if self.value(key) != expected:
            return 0
        self.set(key, value, until_ms=until_ms, keepttl=keepttl)
        return 1

    def expireat(self, key, until_ms, *, nx=False, xx=False, gt=False, lt=False):
        found = self.live(key)
        if found is None:
            return 0
        before = found[1] or INT64.stop
        forbidden = (
            (nx and found[1]) or (xx and not found[1]) or (gt and until_ms <= before) or (lt and until_ms >= before)
        )
        if not forbidden:
            self.write(key, found[0], until_ms)
        return int(not forbidden)

    def persist(self, key):
        found = self.live(key)
        if found is None or found[1] == 0:
            return 0
        self.write(key, found[0])
        return 1

    def flushall(self):
        self.items.clear()
        return True

    def batch(self, commands):
        return [getattr(self, name)(*args, **options) for name, args, options in commands]


def encode(hint_ts, name, *args, **options):
    """The same call as bytes."""
    if name == "batch":
        inner = [encode(0, kind, *given, **more) for kind, given, more in args[0]]
        return codec.encode_batch(inner, hint_ts=hint_ts)
    name = {"delete": "del"}.get(name, name)
    return getattr(codec, f"encode_{name}")(*args, hint_ts=hint_ts, **options)


def plain(result):
    """A result with its errors as their names."""
    if isinstance(result, list):
        return [plain(item) for item in result]
    return result.name if isinstance(result, CommandError) else result
