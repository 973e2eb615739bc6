"""What a user may ask of a table that it cannot give."""

from search_spaces.errors import UserError


class TableError(UserError):
    """The table that the user asked for cannot be made."""


class ExpressionError(TableError):
    """A condition cannot be read, or does not fit the table; the message points at the place."""
