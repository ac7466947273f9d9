"""Frozen domain values; imports nothing of ours."""
