"""Makes the tables of README.md and docs/ that come from code; `python -m cluster.tables` rewrites them.

Each table is found in its page by its first row, and ends with the first line that is no row.
"""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import search_spaces
import trainables
from cluster.state.figures import figures_of
from cluster.state.outcomes import Outcome
from search_spaces.loader import load_yaml
from trainables._shared.discovery import method_names

ROOT = Path(search_spaces.__path__[0]).parent


@dataclass(frozen=True)
class Table:
    """A table in a page, and the function that makes its rows."""

    page: str
    head: tuple[str, ...]
    rows: Callable[[], Iterator[tuple[str, ...]]]

    def lines(self) -> list[str]:
        """Return the table as its page should have it."""
        return [_row(self.head), "|" + "---|" * len(self.head), *map(_row, self.rows())]

    def written_into(self, text: str) -> str:
        """Return a page's text with this table brought up to date; raises ValueError if the page lacks the table."""
        lines = text.splitlines()
        try:
            first = lines.index(_row(self.head))
        except ValueError:
            raise ValueError(f"{self.page} has no table that begins with {_row(self.head)}") from None
        last = next((i for i in range(first, len(lines)) if not lines[i].startswith("|")), len(lines))
        return "\n".join([*lines[:first], *self.lines(), *lines[last:]]) + "\n"


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _methods() -> Iterator[tuple[str, ...]]:
    searches: defaultdict[str, list[str]] = defaultdict(list)
    for file in sorted((ROOT / "search_spaces").glob("*.yaml")):
        searches[load_yaml(file)[0]["trainable"]].append(f"`{file.stem}`")
    for name in method_names():
        source = (Path(trainables.__path__[0]) / name / "__init__.py").read_text()
        what = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0].rstrip(".")
        page = f"docs/{name}.md"
        found = f"[{page}]({page})" if (ROOT / page).exists() else ""
        yield f"`{name}`", what[:1].lower() + what[1:], ", ".join(searches[name]), found


def _commands() -> Iterator[tuple[str, ...]]:
    from swell import Found  # the command line finds them by their files: here and in analysis/

    found = Found()
    for name in found:
        command = found[name]
        arguments = [
            parameter.name.upper() if parameter.required else f"[{parameter.name.upper()}]"
            for parameter in command.params
            if parameter.param_type_name == "argument"
        ]
        options = [
            f"`{max(parameter.opts, key=len)}`" for parameter in command.params if parameter.param_type_name == "option"
        ]
        what = " ".join((command.help or "").split())
        yield f"`{' '.join(['swell', name, *arguments])}`", what, ", ".join(options)


def _outcomes() -> Iterator[tuple[str, ...]]:
    for outcome in Outcome:
        yield f"`{outcome.value}`", outcome.sentence, outcome.fault.value, outcome.told.value, outcome.stays.value


def _figures() -> Iterator[tuple[str, ...]]:
    for one in figures_of():
        yield f"`{one.column}`", one.unit, one.sentence


TABLES = (
    Table("README.md", ("method", "what it learns", "its searches in `search_spaces/`", "results"), _methods),
    Table("docs/commands.md", ("command", "what it does", "options"), _commands),
    Table(
        "docs/searches.md",
        ("outcome", "meaning", "brought about by", "told to the sampler", "taken up again"),
        _outcomes,
    ),
    Table("docs/searches.md", ("column", "unit", "what it says of a trial"), _figures),
)


def write_tables(root: Path = ROOT) -> None:
    """Write every table into its page."""
    for table in TABLES:
        page = root / table.page
        page.write_text(table.written_into(page.read_text()))


if __name__ == "__main__":
    write_tables()
