"""Compiled protobuf messages of senders: `python -m grpc_tools.protoc -I . --python_out=. *.proto` makes them."""
