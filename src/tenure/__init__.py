"""tenure: a Raft-replicated, linearizable store inside a Python server.

Importing this package pulls in nothing but the standard library.
"""

from tenure import errors
from tenure._version import __version__
from tenure.errors import TenureError

__all__ = ["TenureError", "__version__", "errors"]
