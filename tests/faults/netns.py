"""A network of the kernel's own between members: each in a network namespace, on a bridge in a namespace of its own.

What is cut is lost, silently and in one direction if asked: the sender's neighbour table names an address that nobody
has, so the packets die on the bridge, acknowledgements of TCP included. Nothing is left to ask on the way, so no ARP
can undo a cut or spoil a measurement. Nothing but the names of the namespaces is visible outside, and what a killed
test left behind goes when the next one begins.

It needs root, `ip` and a kernel that has namespaces and virtual pairs; `available` tries. A link is slowed by netem,
which not every kernel has: `can_slow` tries that.
"""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import subprocess
from pathlib import Path

PREFIX = "tenure-faults"
NOBODY = "02:00:00:00:ff:ff"
numbers = itertools.count(1)


def run(*arguments: str, script: str | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(arguments, input=script, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(arguments)}: {done.stderr.strip() or done.returncode}\n{script or ''}")
    return done


def sweep() -> None:
    """Delete the namespaces of processes that are gone."""
    for line in run("ip", "netns", "list").stdout.splitlines():
        name = line.split()[0]
        if name.startswith(PREFIX + "-") and not Path("/proc", name.split("-")[2]).exists():
            run("ip", "netns", "delete", name)


@functools.cache
def available() -> bool:
    """Whether such a network can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    try:
        sweep()
        Namespaces((1, 2)).close()
    except OSError as error:
        print(f"no network namespaces here: {error}")
        return False
    return True


@functools.cache
def can_slow() -> bool:
    """Whether the kernel can delay packets."""
    if not available() or shutil.which("tc") is None:
        return False
    network = Namespaces((1, 2))
    try:
        network.slow(1, delay_s=0.01, bytes_per_s=1 << 20)
    except OSError:
        return False
    finally:
        network.close()
    return True


class Namespaces:
    """The network of a cluster; the same calls as `proxy.Network` has."""

    kind = "netns"

    def __init__(self, members: tuple[int, ...]) -> None:
        self.members = members
        self.base = f"{PREFIX}-{os.getpid()}-{next(numbers)}"
        self.made: list[str] = []
        self.severed: set[tuple[int, int]] = set()
        try:
            self.make()
        except BaseException:
            self.close()
            raise

    def make(self) -> None:
        for name in (self.hub, *map(self.name, self.members)):
            run("ip", "netns", "add", name)
            self.made.append(name)
        lines = ["link add br0 type bridge", "link set br0 up"]
        for id in self.members:
            lines += [
                f"link add p{id} type veth peer name eth0 address {self.hardware(id)} netns {self.name(id)}",
                f"link set p{id} master br0",
                f"link set p{id} up",
            ]
        run("ip", "-n", self.hub, "-batch", "-", script="\n".join(lines) + "\n")
        for id in self.members:
            lines = ["link set lo up", f"address add {self.host(id)}/24 dev eth0", "link set eth0 up"]
            lines += [self.neighbour(peer, self.hardware(peer)) for peer in self.members if peer != id]
            run("ip", "-n", self.name(id), "-batch", "-", script="\n".join(lines) + "\n")

    @property
    def hub(self) -> str:
        return f"{self.base}-hub"

    def name(self, id: int) -> str:
        return f"{self.base}-{id}"

    @staticmethod
    def host(id: int) -> str:
        return f"10.77.0.{id}"

    @staticmethod
    def hardware(id: int) -> str:
        return f"02:00:00:00:00:{id:02x}"

    def neighbour(self, id: int, hardware: str) -> str:
        return f"neighbour replace {self.host(id)} lladdr {hardware} dev eth0 nud permanent"

    def command(self, id: int) -> list[str]:
        """What a command begins with that runs where that member is."""
        return ["ip", "netns", "exec", self.name(id)]

    def route(self, pairs: set[tuple[int, int]], *, whole: bool) -> None:
        for sender in self.members:
            lines = [
                self.neighbour(receiver, self.hardware(receiver) if whole else NOBODY)
                for one, receiver in sorted(pairs)
                if one == sender
            ]
            if lines:
                run("ip", "-n", self.name(sender), "-batch", "-", script="\n".join(lines) + "\n")

    def cut(self, *pairs: tuple[int, int]) -> None:
        """From now on whatever `sender` sends to `receiver` is lost."""
        self.route(set(pairs) - self.severed, whole=False)
        self.severed.update(pairs)

    def heal(self, *pairs: tuple[int, int]) -> None:
        """What is sent from now on arrives; without pairs: everything."""
        healed = set(pairs or self.severed) & self.severed
        self.route(healed, whole=True)
        self.severed -= healed

    def slow(self, id: int, *, delay_s: float, bytes_per_s: int) -> None:
        """Whatever goes to this member, and what comes from it, is late and in a thin stream."""
        for place, device in ((self.name(id), "eth0"), (self.hub, f"p{id}")):
            settings = ["delay", f"{round(delay_s * 1e6)}us", "rate", f"{bytes_per_s * 8}bit", "limit", "100000"]
            run("tc", "-n", place, "qdisc", "replace", "dev", device, "root", "netem", *settings)

    def hurry(self, id: int) -> None:
        """The member's links are as before `slow`."""
        for place, device in ((self.name(id), "eth0"), (self.hub, f"p{id}")):
            run("tc", "-n", place, "qdisc", "delete", "dev", device, "root")

    def close(self) -> None:
        while self.made:
            run("ip", "netns", "delete", self.made.pop())
