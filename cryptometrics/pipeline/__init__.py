"""The loop: consume, calculate, persist. It owns assignment, state and shutdown."""

GAVE_UP = 4
"""The exit code with which a worker tells its supervisor that to start it again is of no use."""
