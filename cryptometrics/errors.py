"""Errors for the user, each with its exit code.

The command line prints them as one line: what is wrong and what to do. Any other exception is a bug and
shows a traceback.
"""


class CryptometricsError(Exception):
    """Something failed; the message says what, and what to do."""

    exit_code = 1


class UserError(CryptometricsError):
    """A wrong option, setting or order of commands: trying again changes nothing."""

    exit_code = 2


class NotFoundError(UserError):
    """What the user named is not stored: a group, a venue, a pair, a portfolio, an alert."""


class ServiceUnavailableError(CryptometricsError):
    """Kafka, PostgreSQL or the exchange does not answer: trying again later can help."""

    exit_code = 3
