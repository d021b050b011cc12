"""The soak takes minutes: only `make soak` and `make faults` collect it."""

from __future__ import annotations

import os

from tests.faults.conftest import FULL

collect_ignore = [] if FULL or os.environ.get("SOAK_MINUTES") else ["test_soak.py"]
