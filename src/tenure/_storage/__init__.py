"""Compiled modules; see the `.pyi` beside each. TENURE_STORAGE_FAULTS is for tests: see `file_faults.pyx`."""

import os

if os.environ.get("TENURE_STORAGE_FAULTS"):
    import warnings

    from tenure._storage import file_faults

    warnings.warn("TENURE_STORAGE_FAULTS is set: this process loses data on purpose", RuntimeWarning, stacklevel=2)
    file_faults.configure(os.environ["TENURE_STORAGE_FAULTS"])
