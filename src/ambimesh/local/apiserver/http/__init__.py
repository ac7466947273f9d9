"""The HTTP face of the API: routing, negotiation, discovery, lists, watches."""
