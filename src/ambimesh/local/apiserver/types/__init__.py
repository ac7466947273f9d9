"""Every kind the API serves: its fields, and what follows from them.

One table of types gives validation, defaults, OpenAPI, merge keys and field ownership.
"""
