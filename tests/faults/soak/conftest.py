"""The soak takes minutes: only `make soak` collects it."""

from __future__ import annotations

import os

collect_ignore = [] if os.environ.get("SOAK_MINUTES") else ["test_soak.py"]
