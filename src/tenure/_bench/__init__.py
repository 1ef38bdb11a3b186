"""What `tenure bench` and the suites in `benchmarks/` measure with: skeleton, load, processes, suite, pictures."""
