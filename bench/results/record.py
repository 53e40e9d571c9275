"""The form that a run's stored record must have: what is read from it without looking twice.

It exists so that a damaged record is said to be one, instead of failing somewhere in a table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import one_line


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Column(_Exact):
    label: str
    heading: str
    signature: str
    row_signature: str
    mode: str
    fr: bool
    is_set: bool
    higher_is_better: bool
    digits: int
    unavailable: str | None
    two_sets: bool = False
    annotated: bool = False
    given: Mapping[str, Sequence[float | None]] | None = None
    not_given: str | None = None


class _Dataset(_Open):
    label: str
    name: str
    paired: bool
    protocol: str | None
    items: list[str]
    columns: list[_Column]
    unavailable: str | None = None
    annotation: dict[str, Any] | None = None


class _Method(_Open):
    label: str
    name: str
    options: dict[str, Any]
    identity: dict[str, Any]
    repeats: Annotated[int, Field(ge=1)]
    unavailable: str | None
    datasets: list[str] = []
    modes: dict[str, str] = {}


class _Record(_Exact):
    suite: str
    title: str
    definition: dict[str, Any]
    datasets: list[_Dataset]
    methods: list[_Method]
    provenance: dict[str, Any] | None


def _without_surrogates(record: str | bytes) -> str | None:
    """The record with a sign for each byte of names that are not UTF-8, which JSON for pydantic cannot hold.

    None where it has none, or is not JSON at all.
    """
    try:
        text = json.dumps(json.loads(record), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    plain = text.encode("utf-8", "replace").decode("utf-8")
    return None if plain == text else plain


def problem(record: object) -> str | None:
    """What is wrong with a stored record, in one line; None for one that can be read."""
    if not isinstance(record, str | bytes):
        return f"{type(record).__name__} instead of text"
    try:
        _Record.model_validate_json(record)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid" and (plain := _without_surrogates(record)) is not None:
            return problem(plain)
        place = ".".join(str(part) for part in first["loc"])
        return one_line(f"{place}: {first['msg']}" if place else first["msg"], 120)
    return None
