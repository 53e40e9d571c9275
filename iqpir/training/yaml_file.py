"""YAML files of settings, as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from iqpir import files
from iqpir.errors import IQPIRError


class _EachKeyOnce(yaml.SafeLoader):
    """The safe loader, which would take the last of two equal keys."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key.value!r} is written twice", key.start_mark
                    )
                seen.add(key.value)
        return node


def read_yaml(path: Path) -> object:
    """What a YAML file says. Raises `IQPIRError`, one line that begins with the file."""
    try:
        return yaml.load(files.read_text(path), Loader=_EachKeyOnce)  # noqa: S506  # a safe one
    except OSError as error:
        raise IQPIRError(f"{path}: cannot be read: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise IQPIRError(
            f"{path}:{mark.line + 1 if mark else 1}: {getattr(error, 'problem', None) or 'not YAML'}"
        ) from error
