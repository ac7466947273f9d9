"""The one-machine runtime: supervisor, nodes, pods, service addresses."""
