"""The parts of `benchmarks.serving`: a predictor of its own, its clients, and a service to try batching with."""
