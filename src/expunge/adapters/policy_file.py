"""Policies from YAML files, with errors that name file, line and key."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from expunge.domain.planning.policy.rules import Policy
from expunge.errors import ConfigurationError

SHIPPED = "expunge/policies/default.yaml"


def shipped() -> str:
    """The text of the policy that comes with Expunge."""
    return (resources.files("expunge") / "policies" / "default.yaml").read_text()


def load_policy(path: Path | None) -> Policy:
    """The policy of a file, or the shipped one.

    Raises:
        ConfigurationError: the file is missing, no YAML, or no policy; the text names line and key.
    """
    if path is None:
        return parse_policy(shipped(), SHIPPED)
    try:
        return parse_policy(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigurationError(
            f"policy {path}: {reason}; `expunge policy show --shipped` prints one to begin with"
        ) from None


def parse_policy(text: str, where: str) -> Policy:
    """A policy from its text; see `load_policy`."""
    try:
        tree = yaml.compose(text, Loader=_Loader)
        _refuse_doubles(tree, where)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - derived from the safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{where}:{line}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        said = str(error).partition("\n")[0] or "it refers to itself"
        raise ConfigurationError(f"{where}: not YAML that a policy may be written in: {said}") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{where}:1: a policy is a mapping that begins with `policy: 1`")
    try:
        policy = Policy.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place, line = _place(tree, first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{where}:{line}: {place + ': ' if place else ''}{message}") from None
    try:
        policy.check_complete()
    except ValueError as error:
        raise ConfigurationError(f"{where}:1: {error}") from None
    return policy


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads NO (Norway) and `on` as booleans; here only true and false are.

    And nothing refers to something else: ten lines that do are a thousand million words when they are written out.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """A node, if it is one of its own."""
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            mark = event.start_mark
            raise yaml.composer.ComposerError(None, None, "a policy has no aliases (*name): write it out", mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool" or first in "tfTF"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _refuse_doubles(node: yaml.Node | None, where: str) -> None:
    """A key that stands twice would silently overrule itself."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ConfigurationError(f"{where}:{key.start_mark.line + 1}: {key.value} stands here twice")
            seen.add(key.value)
            _refuse_doubles(value, where)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _refuse_doubles(each, where)


def _place(tree: yaml.Node | None, path: Sequence[Any]) -> tuple[str, int]:
    """Keys and line of the deepest node on the way to an error; rules in lists are called by their ids."""
    node, line, words = tree, 1, []
    for step in path:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
            words.append(str(step))
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = (node.value[step], node.value[step])
            words.append(_name_of(node.value[step]) or f"[{step + 1}]")
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return ".".join(words), line


def _name_of(node: yaml.Node) -> str:
    """The id or name that a rule gives itself."""
    if not isinstance(node, yaml.MappingNode):
        return ""
    return next((str(value.value) for key, value in node.value if key.value in {"id", "name"}), "")
