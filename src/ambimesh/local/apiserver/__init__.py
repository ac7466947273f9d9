"""The embedded Kubernetes-shaped API: a REST server with watches over SQLite, on one machine."""
