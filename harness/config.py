"""Read a YAML file into a typed model, with errors that name file, line, key and the nearest right name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import InputError

Loc = tuple[str | int, ...]


class FileModel(BaseModel):
    """Base for what users write: frozen, no unknown keys, no silent conversion of strings to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


M = TypeVar("M", bound=FileModel)


class Lines:
    """Maps a place inside a document (('trials', 0, 'workload')) to its line in the file, 1-based."""

    def __init__(self, path: Path, table: dict[Loc, int]) -> None:
        self.path = path
        self._table = table

    def of(self, loc: Loc) -> int:
        """The line of `loc`, or of the nearest enclosing place that has one."""
        while loc not in self._table and loc:
            loc = loc[:-1]
        return self._table.get(loc, 1)

    def where(self, loc: Loc) -> str:
        return f"{self.path}:{self.of(loc)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the empty string where nothing is near."""
    close = difflib.get_close_matches(word, [str(other) for other in known], n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def key_name(loc: Loc) -> str:
    """`trials[0].workload` for ('trials', 0, 'workload')."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def load(path: Path, model: type[M]) -> tuple[M, Lines]:
    """Read and validate `path`.

    Raises InputError naming file, line and key: missing file, bad YAML, duplicate key, unknown key, wrong type.
    """
    data, lines = load_raw(path)
    if not isinstance(data, dict):
        raise InputError("the file must hold a mapping (key: value lines)", where=f"{path}:1")
    return validate(data, model, lines.where), lines


def validate(data: object, model: type[M], where: Callable[[Loc], str], subject: str = "") -> M:
    """Validate what was read some other way than by `load`.

    `where` names the place ("file:line") of a key; `subject` (e.g. "host rack1") begins each message.
    Raises InputError as `load` does.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _as_input_error(error, model, where, subject) from None


def load_raw(path: Path) -> tuple[object, Lines]:
    """Read YAML without a model; same errors for missing files, syntax and duplicate keys."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        siblings = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise InputError(f"no such file{nearest(path.name, siblings)}", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        table: dict[Loc, int] = {}
        if node is not None:
            _index(node, (), table, path)
        return yaml.safe_load(text), Lines(path, table)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise InputError(f"not valid YAML: {error.problem or error.context}", where=f"{path}:{line}") from None
    except yaml.YAMLError as error:
        raise InputError(f"not valid YAML: {error}", where=str(path)) from None


def _index(node: yaml.Node, loc: Loc, table: dict[Loc, int], path: Path) -> None:
    table.setdefault(loc, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            line = key.start_mark.line + 1
            if name in seen:
                raise InputError(f"key {key_name((*loc, name))!r} is given twice", where=f"{path}:{line}")
            seen.add(name)
            table[(*loc, name)] = line
            _index(value, (*loc, name), table, path)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _index(item, (*loc, number), table, path)


def _as_input_error(
    error: ValidationError, model: type[BaseModel], where: Callable[[Loc], str], subject: str
) -> InputError:
    problems = error.errors(include_url=False)
    start = f"{subject}: " if subject else ""
    messages = []
    for problem in problems:
        loc: Loc = tuple(problem["loc"])
        message = problem["msg"]
        if problem["type"] == "extra_forbidden":
            message = f"unknown key{nearest(str(loc[-1]), _known_keys(model, loc[:-1]))}"
        elif problem["type"] == "missing":
            message = "this key is required"
        else:
            message = re.sub(r"^Value error, ", "", message)
            if not isinstance(problem["input"], dict | list):
                message += f" (found {problem['input']!r})"
        messages.append((loc, f"{start}{key_name(loc) or 'file'}: {message}"))
    loc, first = messages[0]
    rest = "".join(f"\n  {where(other)}: {message}" for other, message in messages[1:])
    return InputError(first + rest, where=where(loc))


def _known_keys(model: type[BaseModel], loc: Loc) -> list[str]:
    """Keys allowed at `loc`, found by walking the models' annotations; all keys of the file where unsure."""
    keys: set[str] = set()
    here = {model}
    for part in loc:
        found: set[type[BaseModel]] = set()
        for candidate in here:
            field = candidate.model_fields.get(str(part))
            found |= _models_in(field.annotation) if field else set()
        here = found or here
    for candidate in here:
        keys |= set(candidate.model_fields)
    return sorted(keys)


def _models_in(annotation: object) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    found: set[type[BaseModel]] = set()
    for argument in getattr(annotation, "__args__", ()):
        found |= _models_in(argument)
    return found
