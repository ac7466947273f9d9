"""The one error of all patches."""


class PatchError(ValueError):
    """A patch that cannot be applied to this object; the text tells which part and why."""
