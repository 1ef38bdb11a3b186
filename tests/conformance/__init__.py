"""Data-driven conformance tests of the pure core: `python -m tests.conformance.datadriven DIR` runs a folder."""
