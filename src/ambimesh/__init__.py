"""Ambimesh: an ambient service mesh for one Linux machine or for Kubernetes."""

__version__ = "0.1.0"
