"""What can go wrong between a message and its bytes."""


class DecodeError(ValueError):
    """The bytes are not a message of that version; nothing of it was kept. A broker closes the connection."""


class EncodeError(ValueError):
    """The object cannot be said in that version: a value out of range, a null where none is allowed, or a field that
    the version does not know and that may not be dropped. Always an error of the caller, never of the peer."""


class UnknownMessage(LookupError):
    """There is no such API key or message name."""


class UnsupportedVersion(LookupError):
    """The message exists, but not in that version."""
