"""Croissant 1.1: a run's rows as a dataset that other tools load, with the hash of its file, licences and citations."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from bench import files
from bench.export import facts
from bench.export.rows_and_images import text
from bench.results import view
from bench.results.view import RunView
from bench.tables.citation import bibtex

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {"int64": "sc:Integer", "float64": "sc:Float", "string": "sc:Text"}
_ROWS = "rows.csv"


def write(data: RunView, created: float, target: Path) -> Path:
    """`rows.csv` and `croissant.json` into a folder. Returns the latter."""
    rows = "".join(text(view.rows(data), "csv")).encode()
    files.put(target / _ROWS, rows)
    made = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": facts.plain(f"{data.record.suite}-{data.number}"),
        "description": f"{data.record.title or data.record.suite}: every value of a run, {_licences(data)}",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "datePublished": facts.when(created)[:10],
        "version": "1.0.0",
        "url": "https://pypi.org/project/iqpir-bench/",
        "license": "https://creativecommons.org/publicdomain/zero/1.0/",
        "citeAs": _citations(data),
        "distribution": [
            {
                "@type": "cr:FileObject", "@id": _ROWS, "name": _ROWS, "contentUrl": _ROWS,
                "encodingFormat": "text/csv",
                "contentSize": f"{len(rows)} B", "sha256": hashlib.sha256(rows).hexdigest(),
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet", "@id": "rows", "name": "rows",
                "description": "A row per item and metric; `value` is empty where `status` is not ok.",
                "field": [_field(name, kind) for name, kind in view.DTYPES.items()],
            }
        ],
    }  # fmt: skip
    place = target / "croissant.json"
    files.put(place, (json.dumps(made, indent=1, ensure_ascii=False) + "\n").encode())
    return place


def _field(name: str, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"rows/{name}",
        "name": name,
        "dataType": _TYPES[kind],
        "source": {"fileObject": {"@id": _ROWS}, "extract": {"column": name}},
    }


def _licences(data: RunView) -> str:
    """What the numbers were made from, each with its own licence: they are about it, and do not contain it."""
    said = []
    for dataset in data.record.datasets:
        found = facts.entry("dataset", dataset.name)
        said.append(f"{dataset.name} ({(found.fields.get('licence') if found else None) or 'licence not stated'})")
    return "on " + ", ".join(dict.fromkeys(said))


def _citations(data: RunView) -> str:
    """BibTeX of the methods that have a paper."""
    made = []
    for name in dict.fromkeys(method.name for method in data.record.methods):
        found = facts.entry("method", name)
        paper = found.fields.get("paper") if found is not None else None
        if isinstance(paper, dict) and paper.get("title") and paper.get("venue"):
            made.append(bibtex(name, paper))
    return "\n".join(made) or "@software{iqpir-bench, title = {iqpir-bench}}"
