"""What this machine and these services can do, each part as a ratio to the limit: PostgreSQL's bare COPY."""
