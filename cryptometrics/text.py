"""Text of unknown senders, made harmless to look at. Pure."""


def visible(text: str) -> str:
    r"""Return a text with what does not print written as Python has it: an escape is \x1b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
