"""The metrics and the health of a running command, served over HTTP."""
