"""The embedded Kubernetes-shaped API over SQLite."""
