"""Proof of the promises on the data at hand: every offset has one fate, and every number is right.

The checks are SQL over one snapshot, so they run while workers write, and share no code with what wrote the
rows. `books` proves where every offset went, `rows` every derived number from the quotes that are stored, and
`topic` those quotes from the messages themselves: together every stored value.
"""
