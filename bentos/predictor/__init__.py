"""The predictor: stream, HTTP and gRPC on one scoring path."""
