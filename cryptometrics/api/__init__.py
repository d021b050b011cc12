"""The Python interface of `import cryptometrics`: stored rows as Arrow tables, and quotes as they come."""
