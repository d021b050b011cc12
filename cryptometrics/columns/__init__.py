"""Many ticks at once: what `ticks` and `metrics` say of one tick, on the columns of a batch.

Same results, a fraction of the time: texts are checked and prices counted as whole numbers, a column at a
time. `ticks.decode` and `metrics.measure` stay the definition. Whatever is not of the plain form that nearly
all ticks have is left to them, and tests hold the two against each other. Pure.
"""
