"""A live view of what is stored: read from small tables, drawn on a terminal."""
