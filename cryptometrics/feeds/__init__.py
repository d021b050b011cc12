"""Where ticks come from: each module is an iterator of ticks in the wire format."""
