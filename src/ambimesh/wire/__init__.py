"""Protobuf messages and the conversion of domain values to and from them."""
