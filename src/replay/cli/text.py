"""Text of others on the way to a terminal."""


def plain(text: str) -> str:
    """``text`` for a terminal: what Stage, a capture or a plan says cannot move its cursor or rename its window."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else repr(letter)[1:-1] for letter in text)
