"""What a user asks of a table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """What a table is to show; what is None or False is not asked for."""

    where: str | None = None
    """A condition on the rows: on the trials before they are grouped, or on the configurations."""
    sort: str | None = None
    """Columns to sort by, as in "head,-val_error"."""
    columns: str | None = None
    """The columns to show, separated by commas; `all` for every one."""
    by: str | None = None
    """Columns whose values make the groups, separated by commas."""
    by_configuration: bool = False
    """Whether to show a row per configuration, over its seeds."""
    top: int | None = None
    """The most rows."""
