"""Delta xDS sessions without I/O, and their gRPC driver."""
