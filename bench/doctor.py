"""What this machine has for a benchmark: packages, devices, cached files, results, plugins.

Looks and reports; repairs nothing. Nothing heavy is imported in this process: what only an import can tell is asked
of a child, which may crash without taking the report along. Plugins are the exception, for loading them is the test.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from bench import paths, provenance
from bench.catalog.registry import KINDS, Entry, registry
from bench.errors import BenchError, one_line
from bench.fetch.assets import Asset
from bench.machine import usable_cores
from bench.results import artefacts, store

Status = Literal["ok", "info", "missing", "warning", "broken"]
DISTRIBUTION = "iqpir-bench"
LOW_DISK = 1 << 30
"""Free bytes below which a fetch or a run is likely to fail."""
_CHILD_SECONDS = 120


class Finding(NamedTuple):
    """One line of the report."""

    section: str
    name: str
    status: Status
    """`broken` is needed and will fail; `warning` may surprise; `missing` can be fetched; `info` is neither."""
    value: str
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """All findings, in order."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        return all(finding.status != "broken" for finding in self.findings)

    def rows(self) -> list[dict[str, str]]:
        """For JSON: one object per finding."""
        return [finding._asdict() for finding in self.findings]

    def text(self) -> str:
        """For people: sections with aligned columns, what to do beneath what is wrong, missing files only counted."""
        lines: list[str] = []
        shown = [finding for finding in self.findings if finding.status != "missing"]
        width = max((len(finding.name) for finding in shown), default=0)
        section = ""
        for finding in shown:
            if finding.section != section:
                section = finding.section
                lines += ["", section] if lines else [section]
            mark = "" if finding.status == "info" else finding.status
            lines.append(f"  {mark:<8} {finding.name:<{width}}  {finding.value}".rstrip())
            if finding.remedy and finding.status in ("warning", "broken"):
                lines.append(f"  {'':<8} {'':<{width}}  → {finding.remedy}")
        return "\n".join(lines)


def examine(results: Path, assets_of: Callable[[Entry], Iterable[Asset]], *, deep: bool = False) -> Report:
    """Look at everything.

    results: the results folder. assets_of: the files an entry needs (may raise `BenchError`). deep: also import
    torch and every catalogue target, and check the whole results file.
    """
    return Report(
        (
            *packages(),
            *opencv(),
            *devices(deep=deep),
            *cache(),
            *assets(assets_of),
            *stored(results, deep=deep),
            *entries(deep=deep),
        )
    )


def packages() -> Iterator[Finding]:
    """Python and every declared dependency, by installed metadata alone."""
    yield Finding("packages", "python", "ok", f"{platform.python_version()} at {sys.executable}")
    try:
        own = importlib.metadata.version(DISTRIBUTION)
        yield Finding("packages", DISTRIBUTION, "ok", own)
    except importlib.metadata.PackageNotFoundError:
        remedy = "pip install -e . in the checkout"
        yield Finding("packages", DISTRIBUTION, "warning", "runs from a folder and is not installed", remedy)
    for requirement in requirements():
        yield _package(requirement)


def requirements() -> list[str]:
    """The declared dependencies: of the installed distribution, else of the checkout's pyproject.toml."""
    try:
        declared = importlib.metadata.requires(DISTRIBUTION) or []
        return [line for line in declared if "extra ==" not in line]
    except importlib.metadata.PackageNotFoundError:
        project = Path(__file__).resolve().parent.parent / "pyproject.toml"
        if not project.is_file():
            return []
        return list(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"])


def _package(requirement: str) -> Finding:
    try:
        from packaging.requirements import Requirement
    except ImportError:  # then names alone have to do
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        there = any(True for _ in importlib.metadata.distributions(name=name))
        return Finding("packages", name, "ok" if there else "broken", "version not checked", f"pip install {name}")
    wanted = Requirement(requirement)
    remedy = f"pip install '{wanted.name}{wanted.specifier}'"
    try:
        version = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding("packages", wanted.name, "broken", "not installed", remedy)
    if not wanted.specifier.contains(version, prereleases=True):
        return Finding("packages", wanted.name, "broken", f"{version}, needs {wanted.specifier}", remedy)
    return Finding("packages", wanted.name, "ok", version)


def opencv() -> Iterator[Finding]:
    """Two distributions bring the same `cv2`; whichever came last wrote its files over the other's."""
    found = provenance.installed(("opencv-python", "opencv-python-headless", "opencv-contrib-python"))
    said, failed = _child("import cv2; print(cv2.__version__)")
    listed = ", ".join(f"{name} {version}" for name, version in found.items()) or "no distribution"
    if failed:
        remedy = "pip install --force-reinstall --no-deps opencv-python-headless"
        yield Finding("packages", "import cv2", "broken", f"{failed} ({listed})", remedy)
    elif len(set(found.values())) > 1:
        remedy = "pip install one version of both, or uninstall one and reinstall the other"
        yield Finding(
            "packages", "import cv2", "warning", f"works, {said}, but two versions share it: {listed}", remedy
        )
    else:
        yield Finding("packages", "import cv2", "ok", f"{said} ({listed})")


_TORCH = """
import torch
print("torch", torch.__version__, "CUDA", torch.version.cuda or "none", "threads", torch.get_num_threads(), sep=" ")
for i in range(torch.cuda.device_count()):
    p = torch.cuda.get_device_properties(i)
    print(f"cuda:{i} {p.name}, {p.total_memory >> 20} MiB")
"""


def devices(*, deep: bool) -> Iterator[Finding]:
    """Processors, memory, threads and graphics cards."""
    cores = f"{usable_cores()} of {os.cpu_count()} logical cores usable"
    yield Finding("devices", "cpu", "ok", f"{cores}, {provenance.processor()}")
    with suppress(ImportError):  # that it is not installed is said above
        import psutil

        memory = psutil.virtual_memory()
        yield Finding("devices", "memory", "info", f"{_size(memory.available)} free of {_size(memory.total)}")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        if name in os.environ:
            yield Finding("devices", name, "info", os.environ[name] or "(empty)")
    cards = _cards()
    for card in cards or ["none seen"]:
        yield Finding("devices", "gpu", "info", card)
    if deep:
        said, failed = _child(_TORCH)
        if failed:
            yield Finding("devices", "torch", "broken", failed, "pip install --force-reinstall torch")
        for line in said.splitlines():
            yield Finding("devices", "torch", "ok", line)
        if not failed and cards and "cuda:0" not in said:
            remedy = "install a torch build for this driver, or look at CUDA_VISIBLE_DEVICES"
            yield Finding("devices", "cuda", "warning", "a card is there and torch does not see it", remedy)


def _cards() -> list[str]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return [f"nvidia-smi fails: {one_line(error, 120)}"]
    return [one_line(line) for line in done.stdout.splitlines() if line.strip()]


def cache() -> Iterator[Finding]:
    """The folder of fetched files, and the room left on its disk."""
    home = paths.home()
    if not home.exists():
        yield Finding("cache", "folder", "info", f"{home} (made by the first bench fetch)")
    elif not home.is_dir():
        yield Finding("cache", "folder", "broken", f"{home} is not a folder", "set BENCH_HOME to another one")
        return
    else:
        sizes = dict(_files(home))
        yield Finding("cache", "folder", "ok", f"{home}, {len(sizes)} files, {_size(sum(sizes.values()))}")
        if not os.access(home, os.W_OK):
            yield Finding("cache", "writable", "warning", "no: bench fetch cannot add to it", "set BENCH_HOME")
        parts = [size for path, size in sizes.items() if path.suffix == ".part"]
        if parts:
            size = sum(parts)
            yield Finding(
                "cache", "unfinished", "info", f"{len(parts)} downloads, {_size(size)}; fetch goes on with them"
            )
    yield _disk("cache", home)


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Regular files below a folder with their sizes; one that vanishes meanwhile is left out."""
    for path in folder.rglob("*"):
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                yield path, status.st_size


def _disk(section: str, folder: Path) -> Finding:
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    low = free < LOW_DISK
    remedy = "free some space, or choose another disk"
    return Finding(
        section, "disk", "warning" if low else "info", f"{_size(free)} free at {there}", remedy if low else ""
    )


def assets(assets_of: Callable[[Entry], Iterable[Asset]]) -> Iterator[Finding]:
    """Every file of the catalogue: cached, missing, or not what it should be."""
    seen: set[str] = set()
    count = {"verified": 0, "unpinned": 0, "wrong": 0, "missing": 0}
    for kind in ("method", "metric", "dataset"):
        for entry in _catalogue(kind):
            try:
                needed = list(assets_of(entry))
            except Exception as error:  # noqa: BLE001 – a doctor names what is broken and does not die of it
                said = f"{type(error).__name__}: {one_line(error)}"
                yield Finding("assets", entry.name, "broken", said, f"bench info {entry.name}")
                continue
            for asset in needed:
                if asset.file not in seen:
                    seen.add(asset.file)
                    finding, status = _asset(asset)
                    count[status] += 1
                    yield finding
    summary = ", ".join(f"{number} {word}" for word, number in count.items() if number) or "the catalogue names none"
    if count["missing"]:
        summary += " (bench fetch NAME brings them, bench doctor --json lists them)"
    yield Finding("assets", "in all", "info", summary)


def _catalogue(kind: str) -> list[Entry]:
    """Entries of the YAML files: a plugin's are judged by loading them."""
    try:
        return [entry for entry in registry(kind) if entry.fields.get("kind") != "plugin"]
    except BenchError:
        return []  # `entries` says why


def _asset(asset: Asset) -> tuple[Finding, str]:
    try:
        verdict = asset.verify()
    except BenchError as error:
        return Finding("assets", asset.file, "broken", one_line(error), f"delete {asset.path}"), "wrong"
    fetch = f"bench fetch {asset.owner}"
    match verdict.status:
        case "verified":
            finding = Finding("assets", asset.file, "ok", f"cached, for {asset.owner}")
        case "unpinned":
            said = f"cached, for {asset.owner}; its publisher gives no hash"
            remedy = f"{fetch} --pin accepts it"
            if asset.prefix:
                said, remedy = f"cached, for {asset.owner}; begins as its name says", f"{fetch} pins it"
            finding = Finding("assets", asset.file, "warning", said, remedy)
        case "wrong":
            said = f"wrong: sha256 {verdict.found}, expected {verdict.expected}"
            finding = Finding("assets", asset.file, "broken", said, fetch)
        case _:
            how = fetch if asset.url else "by hand; bench fetch says how"
            finding = Finding("assets", asset.file, "missing", f"for {asset.owner} ({how})")
    return finding, verdict.status


def stored(results: Path, *, deep: bool) -> Iterator[Finding]:
    """The results folder and its database, opened for reading only."""
    file = results / store.FILE_NAME
    if not file.is_file():
        yield Finding("results", "store", "info", f"none at {file.absolute()} (made by the first bench run)")
    else:
        yield _store_file(file, deep=deep)
        held = artefacts.held(results)
        each = f", {_size(held.bytes // held.files)} each" if held.files else ""
        yield Finding("results", "outputs", "info", f"{held.files} files, {_size(held.bytes)}{each}")
    if results.is_dir() and not os.access(results, os.W_OK):
        yield Finding("results", "writable", "warning", f"{results} is read-only", "choose another with --results DIR")
    yield _disk("results", results)


def _store_file(file: Path, *, deep: bool) -> Finding:
    remedy = "restore it from a copy, or move it away and run again"
    try:
        # Even a reader of a write-ahead log writes beside the file, unless told that nobody else does.
        mode = "mode=ro" if os.access(file.parent, os.W_OK) else "mode=ro&immutable=1"
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?{mode}", uri=True, timeout=5)) as database:
            version = int(database.execute("PRAGMA user_version").fetchone()[0])
            sound = database.execute("PRAGMA quick_check(1)").fetchone()[0] if deep else "ok"
    except sqlite3.Error as error:
        return Finding("results", "store", "broken", f"{file} cannot be read: {one_line(error)}", remedy)
    said = f"{file.absolute()}, {_size(file.stat().st_size)}, schema {version}"
    if sound != "ok":
        return Finding("results", "store", "broken", f"{said}: {one_line(sound)}", remedy)
    if version > store.SCHEMA_VERSION:
        said += f", and this bench reads up to {store.SCHEMA_VERSION}"
        return Finding("results", "store", "broken", said, "use a newer bench, or another --results folder")
    if version < store.SCHEMA_VERSION:
        said += f"; the next run brings it to {store.SCHEMA_VERSION}"
    return Finding("results", "store", "ok", said)


def entries(*, deep: bool) -> Iterator[Finding]:
    """Every entry of the registries: plugins are loaded, catalogue targets found (or loaded, when deep)."""
    for kind in KINDS:
        try:
            known = registry(kind)
        except BenchError as error:
            yield Finding("registry", f"{kind}s", "broken", one_line(error), "repair the catalogue file it names")
            continue
        wrong = 0
        for broken in known.broken:
            wrong += 1
            remedy = f"repair or uninstall {broken.origin.removeprefix('entry point of ')}"
            yield Finding("registry", broken.name, "warning", f"{kind} of {broken.origin}: {broken.reason}", remedy)
        plugins = 0
        for entry in known:
            plugin = entry.fields.get("kind") == "plugin"
            plugins += plugin
            problem = _problem(entry, load=plugin or deep)
            if problem:
                wrong += 1
                remedy = "repair or uninstall the plugin" if plugin else "reinstall the package"
                yield Finding("registry", entry.name, "warning" if plugin else "broken", problem, remedy)
        said = f"{len(known.names())} entries, {plugins} of plugins, {wrong} broken"
        yield Finding("registry", f"{kind}s", "info" if wrong else "ok", said)


def _problem(entry: Entry, *, load: bool) -> str | None:
    """Why an entry's target cannot be had, or None."""
    if entry.target is None and entry.factory is None:
        return None  # data only
    if load:
        try:
            with redirect_stdout(sys.stderr):  # a plugin that prints must not break the report
                entry.load()
        except BenchError as error:
            return one_line(error)
        except SystemExit as error:  # a module that ends the program when it is imported
            return f"{entry.kind} {entry.name!r} ({entry.origin}) ends the program when loaded: exit {error.code}"
        return None
    module = str(entry.target).partition(":")[0]
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        return f"{entry.kind} {entry.name!r} ({entry.origin}): {module}: {one_line(error)}"
    return None if found else f"{entry.kind} {entry.name!r} ({entry.origin}): no module {module}"


def _child(code: str) -> tuple[str, str]:
    """Output of a piece of Python in a child process, and why it failed (empty when it did not)."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_CHILD_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return "", one_line(error, 160)
    if done.returncode == 0:
        return done.stdout.strip(), ""
    last = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
    return "", one_line(last[0], 200)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
