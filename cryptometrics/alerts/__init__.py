"""Alert rules, and the evaluation of ticks against them. Pure: no clock, no database, no network."""
