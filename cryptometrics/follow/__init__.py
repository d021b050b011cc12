"""Keeps derived rows current: complete minutes in, figures out."""
