"""Parts of `python -m benchmarks.lifecycle`."""
