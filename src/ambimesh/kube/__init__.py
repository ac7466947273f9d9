"""Kubernetes objects we read, watches, and the only use of the Kubernetes client."""
