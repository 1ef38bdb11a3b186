"""A host made of lists: what the threads of an engine ask of one."""

import threading
import time


class FakeCore:
    member_id = 1

    def __init__(self, *, close_takes_s=0.0):
        self.events = []
        self.batches = []
        self.applied = []
        self.failures = []
        self.closed_with = []
        self.hurried = threading.Event()
        self.close_takes_s = close_takes_s
        self.lock = threading.Lock()

    def close(self, at_once, limit_ns=-1):
        self.closed_with.append((at_once, limit_ns))
        if not at_once:
            self.hurried.wait(self.close_takes_s)

    def hurry(self):
        self.hurried.set()

    def next_event(self, deadline_ns):
        if self.events:
            return self.events.pop(0)
        time.sleep(0.001)
        return None

    def next_batch(self, deadline_ns):
        if self.batches:
            return self.batches.pop(0)
        time.sleep(0.001)
        return None

    def batch_applied(self, index, results):
        self.applied.append((index, results))

    def fail(self, code):
        self.failures.append(code)
