"""YAML without its traps: every key has a line, a key stands once, and text stays text.

PyYAML follows YAML 1.1, which reads 1e-4 as text, `yes` as true, and silently keeps the last of two equal keys. Here
scalars follow YAML 1.2: numbers may have an exponent without a dot, and only true and false are booleans. Anchors and
merge keys work; tags do not.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from search_spaces.errors import KeyPath, Problem, Source, SpecError

_INT = re.compile(r"[-+]?[0-9]+$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_NAMED_FLOATS: dict[str, str] = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INSTEAD = {
    "str": "put the text in quotes",
    "set": "write a list: [a, b]",
    "omap": "write a mapping: {a: 1, b: 2}",
    "binary": "write text, or the path of a file",
    "timestamp": "put the date in quotes",
}
"""What to write instead of a value with a tag."""
_YAML_TAG = "tag:yaml.org,2002:"
MOST_VALUES = 200_000
"""Values of a file, those of an anchor counted wherever it is used: a few lines of anchors can stand for billions."""


class _Loader(yaml.SafeLoader):
    """PyYAML's loader, whose nodes also say if a tag was written; YAML 1.1's own implicit tags are not used."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        tag = getattr(self.peek_event(), "tag", None)
        node = super().compose_node(parent, index)
        if tag is not None:
            self.written_tags[id(node)] = tag
        return node

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.written_tags: dict[int, str] = {}


def plain_scalar(text: str) -> Any:
    """Return the value of an unquoted text by YAML 1.2's core rules; raises ValueError if it has too many digits."""
    lower = text.lower()
    if lower in _WORDS and text in (lower, text.capitalize(), text.upper()):
        return _WORDS[lower]
    if _INT.match(text):
        return int(text)
    if lower in _NAMED_FLOATS:
        return float(_NAMED_FLOATS[lower])
    return float(text) if _FLOAT.match(text) else text


class _TooManyValuesError(Exception):
    """A file's anchors stand for more values than anybody could have meant."""


@dataclass
class _Builder:
    """Turns YAML nodes into plain values and notes the line of every key path."""

    file: str
    lines: dict[KeyPath, int]
    problems: list[Problem]
    written_tags: Mapping[int, str]
    """The tags that the author wrote, by the node's id."""
    num_values: int = 0

    def build(self, node: yaml.Node, path: KeyPath, above: tuple[int, ...] = ()) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if id(node) in above:
            self._problem(path, "refers to itself through its own anchor", line)
            return None
        self.num_values += 1
        if self.num_values > MOST_VALUES:
            raise _TooManyValuesError
        if id(node) in self.written_tags:
            self._refuse_tag(self.written_tags[id(node)], path, line)
        inside = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, inside)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index), inside) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        try:
            return node.value if node.style is not None else plain_scalar(node.value)
        except ValueError:
            self._problem(path, f"is a number of {len(node.value):,} digits; no number here is that long", line)
            return None

    def _refuse_tag(self, tag: str, path: KeyPath, line: int) -> None:
        shown = f"!!{tag.removeprefix(_YAML_TAG)}" if tag.startswith(_YAML_TAG) else tag
        instead = _INSTEAD.get(tag.removeprefix(_YAML_TAG), "write the plain value")
        self._problem(path, f"has the tag {shown}, and tags are not supported; {instead} instead", line)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, inside: tuple[int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[tuple[yaml.Node, int]] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(path, "a key must be a single word, not a list or a mapping", line)
                continue
            key, is_plain = key_node.value, key_node.style is None
            if is_plain and key == "<<":
                merged.append((value_node, line))
                continue
            if is_plain and not key:
                self._problem(path, "a key is missing before the colon", line)
                continue
            if id(key_node) in self.written_tags:
                self._refuse_tag(self.written_tags[id(key_node)], (*path, key), line)
            here = (*path, key)
            if key in result:
                first = self.lines[here]
                self._problem(here, f"the key is given twice, on line {first} and on line {line}; keep one", line)
                continue
            self.lines[here] = line
            result[key] = self.build(value_node, here, inside)
        for value_node, line in merged:
            self._merge(value_node, line, path, inside, result)
        return result

    def _merge(
        self, node: yaml.Node, line: int, path: KeyPath, inside: tuple[int, ...], result: dict[str, Any]
    ) -> None:
        """Add the keys of `<<`, a mapping or a list of mappings, that the result does not have yet."""
        for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(one, yaml.MappingNode):
                rule = "the merge key << takes a mapping, or a list of mappings: <<: *anchor, or <<: [*one, *other]"
                self._problem(path, rule, line)
            elif id(one) in inside:
                self._problem(path, "refers to itself through its own anchor", line)
            else:
                there = _Builder(self.file, {}, self.problems, self.written_tags, self.num_values)
                values = there.build(one, path, inside)
                self.num_values = there.num_values
                new = [key for key in values if key not in result]
                result |= {key: values[key] for key in new}
                places = {(*path, key) for key in new}
                self.lines |= {at: line for at, line in there.lines.items() if at[: len(path) + 1] in places}

    def _problem(self, path: KeyPath, message: str, line: int) -> None:
        self.problems.append(Problem(path, message, file=self.file, line=line))


def _syntax_problem(file: str, text: str, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark else None
    lines = text.splitlines()
    if mark and line and line <= len(lines):
        written = lines[line - 1]
        if "\t" in (*written[: len(written) - len(written.lstrip())], *written[mark.column : mark.column + 1]):
            return Problem((), "a tab stands where YAML wants spaces; indent with spaces", file=file, line=line)
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        rule = f"there is a control character (U+{ord(text[error.position]):04X}), which YAML does not allow; delete it"
        return Problem((), rule, file=file, line=line)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    context = getattr(error, "context", None)
    said = f"{context}: {what}" if context else str(what)
    return Problem((), f"this is not valid YAML ({said})", file=file, line=line)


def load_yaml(path: Path) -> tuple[dict[str, Any], Source]:
    """Return a file's mapping of plain values, and the source that knows the line of every key.

    Raises SpecError if the file cannot be read, is no YAML mapping, or gives a key twice.
    """
    file = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpecError([Problem((), f"the file cannot be read: {error.strerror}", file=file)]) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        rule = f"the file is not text in UTF-8 (byte 0x{data[error.start]:02x}); save it as UTF-8"
        raise SpecError([Problem((), rule, file=file, line=line)]) from None
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> tuple[dict[str, Any], Source]:
    """Return a text's mapping of plain values, and the source that knows the line of every key.

    `path` is named in messages. Raises SpecError as `load_yaml` does.
    """
    file = str(path)

    def refuse(message: str, line: int | None = None) -> NoReturn:
        raise SpecError([Problem((), message, file=file, line=line)]) from None

    try:
        loader = _Loader(text)
        root = loader.get_node() if loader.check_node() else None
        if loader.check_node():
            line = loader.peek_event().start_mark.line + 1
            refuse("a second document begins here (---): a file is one search, put it into a file of its own", line)
        if root is None:
            refuse("the file is empty: it must at least give name, trainable and space")
        if not isinstance(root, yaml.MappingNode):
            refuse("the file must be a mapping of `key: value` lines", root.start_mark.line + 1)
        builder = _Builder(file, {}, [], loader.written_tags)
        values = builder.build(root, ())
    except yaml.YAMLError as error:
        raise SpecError([_syntax_problem(file, text, error)]) from None
    except RecursionError:
        refuse("lists and mappings are nested too deeply in one another")
    except _TooManyValuesError:
        refuse(f"its anchors stand for more than {MOST_VALUES:,} values in all; write out what the search needs")
    if builder.problems:
        raise SpecError(builder.problems)
    return values, Source(path, builder.lines)
