"""The error of a user's samples, or of an image that cannot be run."""


class RuntimeFailure(Exception):
    """Samples or an image that cannot be run; the message is one line."""
