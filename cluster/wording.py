"""Words for people."""


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 CPU, 2 CPUs."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
