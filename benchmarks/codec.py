"""What a message costs on its way through the codec, payloads copied into Blobs and checks included.

Run `python benchmarks/codec.py`. Every round runs each message once, in turn; the medians of the rounds are shown.
"""

from __future__ import annotations

from statistics import median

from tenure._net.endpoint import encode_message, measure_codec
from tenure._raft.node import Entry, Message

ROUNDS = 15


def appended(count: int) -> Message:
    entries = [Entry(3, index, bytes(64)) for index in range(1, count + 1)]
    return Message("MsgApp", from_=1, to=2, term=3, commit=1, stamp_ns=1, promise_ns=1, entries=entries)


MESSAGES = {
    "heartbeat": (Message("MsgHeartbeat", from_=1, to=2, term=3, commit=4, stamp_ns=5, promise_ns=6), 50_000),
    "append, 1 entry of 64 B": (appended(1), 50_000),
    "append, 100 entries of 64 B": (appended(100), 2_000),
}


def main() -> None:
    """Measure and print."""
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in MESSAGES}
    for _ in range(ROUNDS):
        for name, (message, count) in MESSAGES.items():
            encode_ns, decode_ns = measure_codec(message, count)
            rounds[name].append((encode_ns / count, decode_ns / count))
    print(f"{'message':30} {'bytes':>7} {'encode ns':>10} {'decode ns':>10}")
    for name, (message, _) in MESSAGES.items():
        encode_ns, decode_ns = (median(column) for column in zip(*rounds[name], strict=True))
        print(f"{name:30} {len(encode_message(message)):7} {encode_ns:10.1f} {decode_ns:10.1f}")


if __name__ == "__main__":
    main()
