"""The three ways to change an object by saying what differs. Pure."""
