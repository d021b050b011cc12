"""The loop: consume, calculate, persist. It owns assignment, state and shutdown."""
