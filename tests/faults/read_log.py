"""What a start would find in a member's directory, as JSON: `python read_log.py DIRECTORY`, over whatever build.

Run as a script by `test_mixed_versions.py`, never by hand. The member must not be running. Only the standard library
and tenure are imported.
"""

from __future__ import annotations

import json
import sys

from tenure._storage.inspection import LogReader


def main() -> None:
    with LogReader(sys.argv[1]) as reader:
        groups, torn = reader.recover()
    found = {
        group: {
            "hard_state": log.hard._asdict(),
            "snapshot": None if log.snapshot is None else log.snapshot._asdict(),
            "entries": [[one.index, one.term, one.kind, one.data.hex()] for one in log.entries],
        }
        for group, log in groups.items()
    }
    print(json.dumps({"groups": found, "torn": torn}))


if __name__ == "__main__":
    main()
