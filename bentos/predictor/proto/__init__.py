"""The predictor's gRPC schema and its generated code."""
