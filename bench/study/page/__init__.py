"""The page that participants see: one HTML file with its style, its script and all that it asks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from bench import files
from bench.errors import BenchError, one_line
from bench.study.key import Key

_HERE = Path(__file__).resolve().parent
SHIPPED = ("en", "de")


def texts(more: Sequence[Path] = ()) -> dict[str, dict[str, str]]:
    """What participants read, by language code; `more` files add languages or replace those that ship.

    Raises `BenchError` for a file that is none, or that has a key which no text of ours has.
    """
    found = {code: _text(_HERE / f"{code}.yaml") for code in SHIPPED}
    known = set(found["en"])
    for file in more:
        code = file.stem.lower()
        if not re.fullmatch(r"[a-z]{2}", code):
            raise BenchError(f"{file}: the name of a file of texts is a language code of two letters, such as fr.yaml")
        given = _text(file)
        wrong = [key for key in given if key not in known and not key.startswith("criterion.")]
        if wrong:
            raise BenchError(f"{file}: no text is called {wrong[0]!r}: en.yaml in {_HERE} has those that there are")
        found[code] = {"language": code, **found.get(code, {}), **given}
    return found


def _text(file: Path) -> dict[str, str]:
    try:
        given = yaml.safe_load(files.read_text(file, most=1 << 20))
    except OSError as error:
        raise BenchError(f"{file}: cannot be read: {one_line(error.strerror or error)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BenchError(f"{file}: not YAML: {one_line(error)}") from None
    if not isinstance(given, dict) or not all(isinstance(one, str) for pair in given.items() for one in pair):
        raise BenchError(f"{file}: a text is needed for each key, such as title: Which images look better?")
    return given


def render(key: Key, seal: str, languages: Mapping[str, Mapping[str, str]]) -> str:
    """The page of a study; of the key it takes opaque names alone."""
    places = {question: place for place, question in enumerate(key.questions)}
    data = {
        "study": key.study,
        "seal": seal,
        "design": key.design,
        "criteria": key.criteria,
        "lowest": key.lowest,
        "highest": key.highest,
        "people": key.people,
        "ids": list(places),
        "questions": [[question.given, question.images] for question in key.questions.values()],
        "plans": key.plans,
        "texts": languages,
    }
    style, script = (files.read_text(_HERE / name).strip() for name in ("study.css", "study.js"))
    # In a script element only these signs could end it, or be taken for a comment.
    told = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; script-src {_hashed(script)}; style-src {_hashed(style)}; img-src 'self' file:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    filled = {"policy": policy, "style": style, "script": script, "data": told}
    return re.sub(r"\{\{(\w+)\}\}", lambda part: filled[part[1]], files.read_text(_HERE / "study.html"))


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"
