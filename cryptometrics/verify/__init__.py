"""Prove the promises on stored data: each offset has exactly one outcome, and every number is right.

All checks read one snapshot, so workers may keep writing, and they share no query, calculation or decoder
with the code that wrote the rows. `row_pass` reads every outcome once, in the order of the topic, accounts
for every offset and derives every number from the stored quotes; `topic_check` compares those quotes with
the messages. Together they cover every stored value.
"""
