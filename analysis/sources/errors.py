"""What is wrong with a table or a study that is to be read as a search."""

from collections.abc import Iterable

from search_spaces.errors import UserError, nearest


class SourceError(UserError):
    """A table or a study cannot be read as a search; the message says where and what to do."""


def no_such(what: str, name: str, there: Iterable[object]) -> SourceError:
    """Return the error for a name that is not among those that are there, with its nearest spelling."""
    names = [str(one) for one in there]
    near = nearest(name, names)
    hint = f" Did you mean {near!r}?" if near else ""
    return SourceError(f"{what}.{hint} There are: {', '.join(names) or 'none'}")
