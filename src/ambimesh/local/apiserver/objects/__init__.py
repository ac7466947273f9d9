"""Writes: one function from the old object and a request to the new object, or a refusal."""
