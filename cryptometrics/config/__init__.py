"""The one configuration: the settings of the user, and the addresses of the services that `up` runs."""

from cryptometrics.config.endpoints import NotRunningError
from cryptometrics.config.fields import Secret
from cryptometrics.config.settings import Settings, load, pinned, unknown_variables

__all__ = ["NotRunningError", "Secret", "Settings", "load", "pinned", "unknown_variables"]
