"""YAML without its traps: every key has a line, a key stands once, and text stays text.

PyYAML follows YAML 1.1, which reads 1e-4 as text, `yes` as true, and silently keeps the last of two equal keys. Here
scalars follow YAML 1.2: numbers may have an exponent without a dot, and only true and false are booleans.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from search_spaces.errors import KeyPath, Problem, Source, SpecError

_INT = re.compile(r"[-+]?[0-9]+$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_NAMED_FLOATS: dict[str, str] = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("null", "bool", "int", "float", "str", "seq", "map", "timestamp", "merge", "value")
}


def _scalar(node: yaml.ScalarNode) -> Any:
    """Return a plain scalar by YAML 1.2's core rules; a quoted one is text."""
    text = node.value
    if node.style is not None:
        return text
    lower = text.lower()
    if lower in _WORDS and text in (lower, text.capitalize(), text.upper()):
        return _WORDS[lower]
    if _INT.match(text):
        return int(text)
    if lower in _NAMED_FLOATS:
        return float(_NAMED_FLOATS[lower])
    return float(text) if _FLOAT.match(text) else text


@dataclass
class _Builder:
    """Turns YAML nodes into plain values and notes the line of every key path."""

    file: str
    lines: dict[KeyPath, int]
    problems: list[Problem]

    def build(self, node: yaml.Node, path: KeyPath, above: tuple[int, ...] = ()) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if id(node) in above:
            self._problem(path, "refers to itself through its own anchor", line)
            return None
        if node.tag not in _PLAIN_TAGS:
            self._problem(path, f"the tag {node.tag} is not understood: a spec is plain values", line)
        inside = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, inside)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index), inside) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, inside: tuple[int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(path, "a key must be a single word, not a list or a mapping", line)
                continue
            key = key_node.value
            here = (*path, key)
            if key in result:
                first = self.lines[here]
                self._problem(here, f"the key is given twice, on line {first} and on line {line}; keep one", line)
                continue
            self.lines[here] = line
            result[key] = self.build(value_node, here, inside)
        return result

    def _problem(self, path: KeyPath, message: str, line: int) -> None:
        self.problems.append(Problem(path, message, file=self.file, line=line))


def _syntax_problem(file: str, text: str, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark else None
    lines = text.splitlines()
    if line and line <= len(lines) and "\t" in lines[line - 1]:
        return Problem((), "a tab stands where YAML wants spaces; indent with spaces", file=file, line=line)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    context = getattr(error, "context", None)
    said = f"{context}: {what}" if context else str(what)
    return Problem((), f"this is not valid YAML ({said})", file=file, line=line)


def load_yaml(path: Path) -> tuple[dict[str, Any], Source]:
    """Return a file's mapping of plain values, and the source that knows its lines.

    Raises SpecError where the file cannot be read, is no YAML mapping, or gives a key twice.
    """
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError([Problem((), f"the file cannot be read: {error.strerror}", file=file)]) from None
    except UnicodeDecodeError:
        raise SpecError([Problem((), "the file is not text in UTF-8", file=file)]) from None
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> tuple[dict[str, Any], Source]:
    """Return a text's mapping of plain values, and the source that knows its lines; `path` is for messages.

    Raises SpecError as `load_yaml` does.
    """
    file = str(path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise SpecError([_syntax_problem(file, text, error)]) from None
    if root is None:
        raise SpecError([Problem((), "the file is empty: it must at least give name, trainable and space", file=file)])
    if not isinstance(root, yaml.MappingNode):
        line = root.start_mark.line + 1
        raise SpecError([Problem((), "the file must be a mapping of `key: value` lines", file=file, line=line)])
    builder = _Builder(file, {}, [])
    values = builder.build(root, ())
    if builder.problems:
        raise SpecError(builder.problems)
    return values, Source(path, builder.lines)
