"""What a search found: `analysis.load("quickstart")` returns its trials, histories, configs and models.

It reads a search directory, running or finished, without Ray; JAX is needed only for models. The command line, the
reports and the notebooks use what is here.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what is heavy (pandas and more) is imported by the first call, so that `import analysis` is cheap
    from analysis.mattered.compare import Comparison
    from analysis.search import Search

__all__ = ["compare", "load"]


def load(search: str) -> "Search":
    """Return a search by its name or path, running or finished.

    Raises SearchNotFoundError, which names the searches that exist, and DamagedFileError if its spec cannot be read.
    """
    from analysis.sources.directory import load_search

    return load_search(search)


def compare(search: "Search | str", factor: str | None = None) -> "Comparison":
    """Return which choice mattered in a search (or its name or path): levels, importance, interactions, seeds, cost.

    With `factor`, a column's name, of this factor alone. Raises NotThereError if nothing of that name was searched.
    """
    from analysis.mattered.compare import compare as compare_search

    return compare_search(load(search) if isinstance(search, str) else search, factor)
