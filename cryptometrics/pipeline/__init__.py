"""The worker: it consumes ticks, calculates their metrics, and stores them exactly once."""

GAVE_UP = 4
"""Exit code by which a worker reports to its supervisor that a restart cannot help."""
