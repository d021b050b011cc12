"""Measure this machine and its services, each part as a ratio to the limit, PostgreSQL's bare COPY."""
