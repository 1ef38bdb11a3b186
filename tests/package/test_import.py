"""`import tenure` costs nothing but the standard library."""

import json
import subprocess
import sys

PROGRAM = """
import json, sys
before = set(sys.modules)
import tenure
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def test_importing_tenure_needs_only_the_standard_library():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(result.stdout))
    assert "tenure" in loaded
    # Cython keeps the types its modules share under a name of this form.
    foreign = {name for name in loaded - sys.stdlib_module_names - {"tenure"} if not name.startswith("_cython_")}
    assert not foreign
