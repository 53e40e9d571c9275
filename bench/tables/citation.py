"""What a paper needs to say how a run's numbers were made: one sentence, and BibTeX of all that they rest on.

Entries are made of the catalogue, which has the family names of authors; what it does not know is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bench.catalog.registry import registry
from bench.errors import counted
from bench.results.view import RunView
from bench.suite.definition import label_of
from bench.tables.latex import tex

_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_JOURNALS = {
    "TIP": "IEEE Transactions on Image Processing",
    "TPAMI": "IEEE Transactions on Pattern Analysis and Machine Intelligence",
    "TMM": "IEEE Transactions on Multimedia",
    "TCSVT": "IEEE Transactions on Circuits and Systems for Video Technology",
    "IJCV": "International Journal of Computer Vision",
    "JMIV": "Journal of Mathematical Imaging and Vision",
    "IPOL": "Image Processing On Line",
    "JOSA": "Journal of the Optical Society of America",
}
_PERIODICAL = re.compile(r"IEEE |Annals |J\. |.*(Letters|Journal|Transactions|American)")
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d+)")


def cite(data: RunView) -> str:
    """The sentence, then the entries."""
    entries = [_software(data), *_entries(data)]
    return f"{sentence(data)}\n\n" + "\n".join(entries)


def sentence(data: RunView) -> str:
    """One line for a caption or an appendix: what was measured how, on what, with which version."""
    version = data.provenance.get("packages", {}).get("iqpir-bench", "of unknown version")
    shown: dict[str, list[str]] = {}
    for cell in data.cells:
        shown.setdefault(cell.column.heading, []).append(cell.column.signature)
    metrics = "; ".join(f"{heading}: {' or '.join(dict.fromkeys(given))}" for heading, given in shown.items())
    sets = ", ".join(f"{one.label} ({counted(len(one.items), 'image')})" for one in data.record.datasets)
    rules = list(dict.fromkeys(one.protocol for one in data.record.datasets if one.protocol))
    under = f" under the protocol {', '.join(rules)}" if rules else ""
    made = f", outputs made on {', '.join(sorted(data.devices))}" if data.devices else ""
    return (
        f"Values are means over the images of {sets}, measured with iqpir-bench {version}{under}{made} ({metrics}; "
        f"run {data.record.digest.hex()[:12]} of {data.record.suite})."
    )


def _software(data: RunView) -> str:
    version = str(data.provenance.get("packages", {}).get("iqpir-bench", ""))
    return _entry(
        "misc", "iqpir-bench",
        {"title": "{iqpir-bench}: a benchmark and evaluation harness for real-world image restoration",
         "author": "{The iqpir-bench authors}", "note": f"Version {version}" if version else ""},
    )  # fmt: skip


def _entries(data: RunView) -> Iterator[str]:
    told: set[str] = set()
    for kind, names in (("method", _methods(data)), ("metric", _metrics(data))):
        known = registry(kind)
        for name in names:
            if name not in known:
                continue
            entry = known.get(name)
            paper = entry.fields.get("paper")
            if isinstance(paper, Mapping) and _citable(paper) and str(paper["title"]) not in told:
                told.add(str(paper["title"]))
                yield bibtex(entry.name, paper)


def _citable(paper: Mapping[str, Any]) -> bool:
    """What nobody published, such as the definition of PSNR, is cited by nobody."""
    return bool(paper.get("title")) and bool(paper.get("venue"))


def _methods(data: RunView) -> list[str]:
    found = []
    for method in data.record.methods:
        host = method.options.get("host")
        found += [method.name, *([host] if isinstance(host, str) else [])]
    return list(dict.fromkeys(found))


def _metrics(data: RunView) -> list[str]:
    specs = {label_of(spec): spec.metric for spec in data.record.metrics}
    labels = dict.fromkeys(cell.column.label for cell in data.cells)
    return list(dict.fromkeys(specs.get(label, label.partition("/")[0]) for label in labels))


def bibtex(key: str, paper: Mapping[str, Any]) -> str:
    """An entry of a paper as the catalogue describes it."""
    venue = str(paper.get("venue", ""))
    years = _YEAR.findall(venue)
    place = " ".join(_YEAR.sub("", venue).split()).strip(" ,()")
    authors = re.split(r",\s*|\s+and\s+", str(paper["authors"])) if paper.get("authors") else []
    fields = {"title": f"{{{tex(str(paper['title']))}}}", "author": " and ".join(tex(name) for name in authors)}
    archived = _ARXIV.search(venue)
    if archived:
        fields |= {"eprint": archived[1], "archivePrefix": "arXiv", "year": f"20{archived[1][:2]}"}
        return _entry("misc", key, fields)
    journal = place in _JOURNALS or bool(_PERIODICAL.match(place))
    fields |= {
        "journal" if journal else "booktitle": tex(_JOURNALS.get(place, place)),
        "year": years[-1] if years else "",
    }
    return _entry("article" if journal else "inproceedings", key, fields)


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    safe = re.sub(r"[^A-Za-z0-9+:-]", "-", key)
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{safe},", *lines, "}"]) + "\n"
