"""A live view of what is stored: read from small tables, rendered on a terminal."""
