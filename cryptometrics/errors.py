"""What can go wrong for a user, and the exit code of each.

An error of this module is shown as one line: what is wrong and what to do. Anything else that
reaches the user is a bug and shows a traceback.
"""


class CryptometricsError(Exception):
    """Something did not work; the message says what, and what to do."""

    exit_code = 1


class UserError(CryptometricsError):
    """A wrong option, setting or order of commands: trying again unchanged cannot help."""

    exit_code = 2


class ServiceUnavailableError(CryptometricsError):
    """Kafka or PostgreSQL does not answer: trying again later can help."""

    exit_code = 3
