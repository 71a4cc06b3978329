"""Parts of benchmarks.spark."""
