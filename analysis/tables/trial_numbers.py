"""Reads the numbers of trials as users write them."""

from analysis.tables.errors import TableError

MOST = 100_000


def numbers_in(text: str) -> list[int]:
    """Return the trials in a list such as "3,15,20-24".

    Raises TableError if it is no such list.
    """
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = (one.strip() for one in part.strip().partition("-"))
        is_range = first.isdecimal() and (last.isdecimal() if dash else True)
        if not is_range or (dash and int(last) - int(first) > MOST):
            raise TableError(f"--trials {text}: {part.strip()!r} is no trial; allowed: numbers and ranges, 3,15,20-24")
        numbers += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(numbers))
