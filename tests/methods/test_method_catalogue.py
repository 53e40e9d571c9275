"""The whole catalogue of methods: every method of the papers' tables is there, and every entry says what it must."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import date
from pathlib import Path

import pytest
import yaml

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError
from bench.methods.availability import STATUSES, status, venue, why_not
from bench.methods.build import build_method
from bench.methods.command import CommandMethod

IQPIR = {
    "faces": "RestoreFormer DR2 CodeFormer DifFace DAEFR WaveFace Interlcm IQPIR",
    "low-light": "CUE GSAD AST MambaIR Reti-Diff CIDNet IQPIR",
    "underwater": "PUGAN ADP NU2Net AST MambaIR Reti-Diff IQPIR",
    "backlit": "CLIP-LIT DiffIR AST MambaIR RAVE Reti-Diff IQPIR",
    "+": "WavvFace WaveFace+ InterIcm InterIcm+ Reti-Diff Reti-Diff+ CIDNet CIDNet+ MambaIR MambaIR+",
    "detection": "MIRNet RUAS Restormer SCI SNR-Net Reti-Diff CIDNet Reti-Diff+ CIDNet+ IQPIR",
    "colour": "CodeFormer CodeFormer+",
}
IQPFR = {
    "faces": "RestoreFormer DR2 CodeFormer DifFace DifFace+ DAEFR DAEFR+ WaveFace Interlem IQPFR",
    "underwater": "PUIE-Net PUIE-Net+ NU2Net NU2Net+",
}
RAR = {"real-world": "AutoDIR AgenticIR RAR"}

NAMES = {
    "ADP": "adp", "AST": "ast", "AgenticIR": "agenticir", "AutoDIR": "autodir", "CIDNet": "hvi-cidnet",
    "CLIP-LIT": "clip-lit", "CUE": "cue", "CodeFormer": "codeformer", "DAEFR": "daefr", "DR2": "dr2",
    "DifFace": "difface", "DiffIR": "diffir", "GSAD": "gsad", "IQPFR": "iqpfr", "IQPIR": "iqpir",
    "InterIcm": "interlcm", "Interlcm": "interlcm", "Interlem": "interlcm", "MIRNet": "mirnet", "MambaIR": "mambair",
    "NU2Net": "nu2net", "PUGAN": "pugan", "PUIE-Net": "puie-net", "RAR": "rar-sd3.5", "RAVE": "rave-paired",
    "RUAS": "ruas-dark",
    "RestoreFormer": "restoreformer", "Restormer": "restormer-denoising", "Reti-Diff": "reti-diff-lol-v1",
    "SCI": "sci-difficult", "SNR-Net": "snr-net", "WavvFace": "waveface", "WaveFace": "waveface",
}  # fmt: skip
"""Entries by the names that the tables print, misprints included. A name with + is its host under `plus`."""

OF_TASK = {("Reti-Diff", "underwater"): "reti-diff-uieb", ("Reti-Diff", "backlit"): "reti-diff-baid"}

TRAINING_ONLY = {
    "dark-face",
    "df2k",
    "div2k",
    "exposure-errors",
    "ffhq",
    "gopro",
    "lsrw",
    "lsui",
    "mit-adobe-fivek",
    "sice",
}
"""Sets that methods were trained on and no table is measured on."""

METHODS = list(registry("method"))
COMMANDS = [entry for entry in METHODS if entry.fields["kind"] == "command" and entry.name != "command"]


def printed() -> list[tuple[str, str]]:
    return [(name, task) for tables in (IQPIR, IQPFR, RAR) for task, names in tables.items() for name in names.split()]


@pytest.mark.parametrize(("name", "task"), printed())
def test_every_method_of_the_papers_tables_has_an_entry(name: str, task: str):
    entry = registry("method").get(OF_TASK.get((name, task)) or NAMES[name.removesuffix("+")])
    tasks = entry.fields["task"]
    general = ("+", "detection", "colour")
    assert task in general or entry.name in ("iqpir", "iqpfr") or task in ([tasks] if isinstance(tasks, str) else tasks)
    if name.endswith("+"):
        assert registry("method").get("plus").fields["kind"] == "plus"


@pytest.mark.parametrize("entry", METHODS, ids=lambda entry: entry.name)
def test_an_entry_says_what_a_reader_has_to_know(entry: Entry):
    fields = entry.fields
    assert fields.get("title") and fields.get("licence") and fields.get("task"), entry.origin
    assert status(entry) in STATUSES
    assert isinstance(fields.get("parameters", 0), int)
    assert re.fullmatch(r"https://\S+[^/]", fields.get("home", "https://x.y")), fields["home"]
    if "paper" in fields:
        year = re.search(r"(19|20)\d\d", venue(entry)) or re.search(r"arXiv:(\d\d)", venue(entry))
        assert year is not None, venue(entry)
        assert year[0].startswith("arXiv") or 1970 < int(year[0]) <= date.today().year + 1
    assert set(fields.get("trained_on", [])) <= set(registry("dataset").names()) | TRAINING_ONLY


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_an_official_repository_is_described_by_commit_script_and_line(entry: Entry):
    fields = entry.fields
    assert fields["description"].startswith("Untested")
    assert status(entry) == "command"
    assert fields["home"] and venue(entry) and fields["weights"]["instructions"]
    assert re.match(r"[0-9a-f]{7} \S+\.\w+", fields["source"]), fields["source"]


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_an_official_method_without_its_clone_says_how_to_get_it(entry: Entry):
    reason = why_not(entry)
    assert reason is not None and "\n" not in reason
    assert f"git clone {entry.fields['home']}, then options: {{repo: …, python: …}}; weights: " in reason


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_a_template_is_whole_once_there_is_a_clone(entry: Entry, tmp_path: Path):
    options = {"repo": str(tmp_path)}
    method = build_method(entry, options, None)
    assert isinstance(method, CommandMethod)
    reason = method.unavailable()
    if entry.fields["options"].get("files"):
        assert reason is not None and f"{entry.name} lacks " in reason and "{" not in reason.partition(";")[0]
        for name, _ in method._files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"weights")
        method = build_method(entry, options, None)
    assert method.unavailable() is None
    commit = ["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"]
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", *commit], cwd=tmp_path, check=True)
    identity = method.identity()
    assert len(identity["files"]) == len(entry.fields["options"].get("files", []))
    assert str(tmp_path) not in repr(identity)
    for option in set(entry.fields["options"]) - set(identity) - {"files", "timeout", "size"}:
        assert option in identity["fields"], option


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_python_within_a_template_compiles(entry: Entry):
    argv = entry.fields["options"]["argv"]
    assert argv[0] == "{python}"
    if "-c" in argv[1:2]:
        compile(argv[2], entry.name, "exec")
    elif argv[1] == "{patched}":
        assert argv.index("--") % 2 == 1, "texts to replace come in pairs"


@pytest.mark.parametrize(
    "entry", [entry for entry in COMMANDS if "config" in entry.fields["options"]], ids=lambda entry: entry.name
)
def test_a_configuration_file_is_read_as_the_official_one_is(entry: Entry):
    text = entry.fields["options"]["config"]
    for field in re.findall(r"\{(\w+)\}", text):
        text = text.replace("{" + field + "}", "7" if field == "seed" else f"/some/{field}")
    found = json.loads(text) if entry.name == "gsad" else yaml.safe_load(text)
    assert isinstance(found, dict)
    assert "/some/input" in text or "{input}/" in entry.fields["options"]["argv"]
    if entry.name == "gsad":
        assert found["train"]["manual_seed"] == 7 and found["path"]["resume_state"] == "/some/checkpoint"


def test_outputs_that_are_all_there_is_need_their_folder(tmp_path: Path):
    entry = registry("method").get("waveface")
    assert status(entry) == "results-only"
    reason = why_not(entry)
    assert reason is not None and "waveface exists as outputs only" in reason
    assert build_method(entry, {"path": str(tmp_path)}, None).unavailable() is None


def test_the_status_follows_from_kind_and_weights():
    def of(**fields: object) -> str:
        return status(Entry("x", "method", fields, "x.yaml:1"))

    assert of(kind="classical") == "runs"
    assert of(kind="network", weights={"file": "a", "url": "https://x"}) == "runs"
    assert of(kind="network", weights=[{"file": "a", "url": "https://x"}, {"file": "b"}]) == "download"
    assert of(kind="spandrel", weights={"file": "a", "url": "https://x"}) == "download"
    assert of(kind="spandrel", weights={"file": "a", "url": "https://x"}, status="runs") == "runs"
    assert (of(kind="command"), of(kind="folder"), of(kind="plugin")) == ("command", "results-only", "runs")
    with pytest.raises(BenchError, match=r"method 'x' \(x.yaml:1\): status 'works' is none of runs, download"):
        of(kind="network", status="works")


def test_every_route_is_in_the_catalogue():
    assert {status(entry) for entry in METHODS} == set(STATUSES)
