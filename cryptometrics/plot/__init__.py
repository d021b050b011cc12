"""Charts of what is stored: what they show (`panels`), how ticks become lines (`lines`), axes and figures."""
