"""Parts of `benchmarks.stream`."""
