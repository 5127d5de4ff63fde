"""The error that tells a user what is wrong with what they gave."""


class InputError(ValueError):
    """Bad input: the message states the rule, then `Received: ...`, then what to do."""
