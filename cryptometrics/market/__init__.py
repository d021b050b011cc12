"""What a quote is and what follows from it. Pure: no clock, no I/O.

`tick_decoder`, `metrics` and `windows` define the results one tick at a time. The `table_*` modules compute
the same for a whole batch in columns, at a fraction of the time, and leave every tick of an unusual form to
the definition. Tests hold the two against each other.
"""
