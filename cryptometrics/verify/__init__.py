"""Prove the promises on stored data: each offset has exactly one outcome, and every number is right.

The checks are SQL over one snapshot, so workers may keep writing, and they share no query, calculation or
decoder with the code that wrote the rows. `offset_check` accounts for every offset, `recompute` derives every
number from the stored quotes, and `topic_check` compares those quotes with the messages: together they cover
every stored value.
"""
