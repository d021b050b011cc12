"""PostgreSQL: the schema, the transaction that keeps the promises, and the reads that people use."""
