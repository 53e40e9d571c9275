"""A workplace for end-to-end tests: a folder of small generated photographs, suites and plugins, and `bench` itself."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
TIMEOUT = 120.0

PLUGIN = HERE / "tracing_plugin.py"
"""Methods that write down every image they restore; see there."""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    """Exit code; negative: the signal that killed it."""
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """Lines of standard error that begin with `error:`."""
        return [line for line in self.err.splitlines() if line.startswith("error:")]


class Started:
    """A command that is running."""

    def __init__(self, pid: int, code: Path, out: Path, err: Path) -> None:
        self.pid = pid
        self._code, self._out, self._err = code, out, err

    @property
    def running(self) -> bool:
        return not self._code.exists()

    def said(self) -> str:
        """What it has written to standard error so far."""
        return self._err.read_text() if self._err.exists() else ""

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def interrupt(self) -> None:
        """What a terminal does on Ctrl-C: the whole process group is told."""
        os.killpg(self.pid, signal.SIGINT)

    def kill(self) -> Done:
        """`kill -9`, and wait until it is gone; one that has ended meanwhile is as it ended."""
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        return self.wait()

    def wait(self, timeout: float = TIMEOUT) -> Done:
        end = time.monotonic() + timeout
        while self.running:
            if time.monotonic() > end:
                self.signal(signal.SIGKILL)
                raise AssertionError(
                    f"still running after {timeout} s\n{self._out.read_text()}\n{self._err.read_text()}"
                )
            time.sleep(0.002)
        return Done(int(self._code.read_text()), self._out.read_text(), self._err.read_text())


class Launcher:
    """The client of `forkserver.py`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._serve()

    def _serve(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BENCH_")}
        self._server = subprocess.Popen(
            [sys.executable, str(HERE / "forkserver.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self._said() == "ready"

    def _said(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()

    def start(
        self, arguments: list[str], cwd: Path, env: dict[str, str], before: Path | None, script: Path | None
    ) -> Started:
        self._count += 1
        code, out, err = (self._folder / f"{self._count}.{kind}" for kind in ("code", "out", "err"))
        request = {
            "arguments": arguments, "cwd": str(cwd), "env": env, "code": str(code), "out": str(out), "err": str(err),
            "before": None if before is None else str(before), "script": None if script is None else str(script),
        }  # fmt: skip
        if (gone := self._server.poll()) is not None:  # which is one test's failure, not that of all that follow
            warnings.warn(f"the server of the commands had ended with code {gone}; there is a new one", stacklevel=2)
            self._serve()
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        said = self._said()
        assert said, f"the server of the commands ended with code {self._server.wait(60)}"
        return Started(int(said), code, out, err)

    def close(self) -> None:
        assert self._server.stdin is not None
        with suppress(BrokenPipeError):
            self._server.stdin.close()
        self._server.wait(60)


class Traced(NamedTuple):
    """One image that a method of `tracing_plugin.py` restored."""

    pid: int
    method: str
    content: str
    """Hex content hash of the 8-bit pixels."""


class Workplace:
    """One test's folder with everything it works on."""

    def __init__(self, root: Path, launcher: Launcher) -> None:
        self.root = root
        self.results = root / "results"
        self.log = root / "restored.log"
        self.env = {"BENCH_HOME": str(root / "home"), "TRACE_LOG": str(self.log)}
        self._launcher = launcher

    # What a run works on

    def pairs(self, count: int, size: int | tuple[int, int] = 64, folder: str = "data", seed: int = 0) -> None:
        """`count` dark images in FOLDER/low and their references in FOLDER/high, 8-bit PNG."""
        for index in range(count):
            self.pair(f"{index:03d}", size, folder, seed * 1000 + index)

    def pair(self, name: str, size: int | tuple[int, int] = 64, folder: str = "data", seed: int = 0) -> None:
        height, width = (size, size) if isinstance(size, int) else size
        high = photograph(height, width, seed)
        low = np.clip(high * 0.3 + 4, 0, 255)
        for kind, pixels in (("low", low), ("high", high)):
            place = self.root / folder / kind / f"{name}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(place)

    def suite(
        self,
        methods: str = "[identity]",
        metrics: str = "[psnr]",
        datasets: str = "[{dataset: folder, options: {lq: data/low, gt: data/high}, label: mine}]",
        more: str = "",
        name: str = "suite",
    ) -> str:
        """Write a suite file from YAML fragments; its path."""
        place = self.root / f"{name}.yaml"
        place.write_text(
            f"schema: 1\ndatasets: {datasets}\nmethods: {methods}\nmetrics: {metrics}\n{more}\n", encoding="utf-8"
        )
        return place.name

    def write(self, name: str, text: str) -> Path:
        place = self.root / name
        place.write_text(text, encoding="utf-8")
        return place

    # Commands

    def start(
        self, *arguments: object, env: dict[str, str] | None = None, before: Path | None = None,
        script: Path | None = None,
    ) -> Started:  # fmt: skip
        """Start `bench ARGUMENTS`, or a Python script; `before` is a Python file executed first in the same process."""
        return self._launcher.start(
            [str(each) for each in arguments], self.root, {**self.env, **(env or {})}, before, script
        )

    def bench(self, *arguments: object, env: dict[str, str] | None = None, before: Path | None = None) -> Done:
        """Run `bench ARGUMENTS` to its end."""
        return self.start(*arguments, env=env, before=before).wait()

    def run(self, suite: str, *arguments: object, env: dict[str, str] | None = None) -> Done:
        """`bench run SUITE --plugin tracing_plugin.py ARGUMENTS`."""
        return self.bench("run", suite, "--plugin", PLUGIN, *arguments, env=env)

    def python(self, text: str) -> Done:
        """Run Python text as a program."""
        return self.start(script=self.write("script.py", text)).wait()

    def table(self, style: str = "csv", results: Path | None = None, run: str | None = None) -> str:
        named = [run] if run else []
        done = self.bench("table", *named, "--format", style, "--results", results or self.results)
        assert done.code == 0, done.err
        return done.out

    # What a run left behind

    def rows(self, sql: str, results: Path | None = None) -> list[tuple[object, ...]]:
        """Rows of the store, read without disturbing anybody who writes."""
        database = sqlite3.connect(f"file:{(results or self.results) / 'bench.db'}?mode=ro", uri=True, timeout=30)
        try:
            return database.execute(sql).fetchall()
        finally:
            database.close()

    def count(self, table: str, results: Path | None = None) -> int:
        number = self.rows(f"SELECT count(*) FROM {table}", results)[0][0]
        assert isinstance(number, int)
        return number

    def traced(self) -> list[Traced]:
        """Every restoration of a tracing method so far, in order."""
        if not self.log.exists():
            return []
        parts = [line.split() for line in self.log.read_text().splitlines()]
        return [Traced(int(pid), method, content) for pid, method, content in parts]

    def restored(self) -> Counter[str]:
        """How many images each tracing method has restored so far."""
        return Counter(trace.method for trace in self.traced())

    def export(self) -> list[dict[str, object]]:
        """The newest run's rows."""
        done = self.bench("export", "--format", "json", "--results", self.results)
        assert done.code == 0, done.err
        rows: list[dict[str, object]] = json.loads(done.out)
        return rows


def photograph(height: int, width: int, seed: int) -> np.ndarray:
    """Float RGB [H,W,3] in 20..235 with smooth structure and some noise, different for every seed."""
    draw = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width]
    planes = []
    for _ in range(3):
        waves = draw.uniform(0.02, 0.3, size=(3, 2))
        planes.append(sum(np.sin(down * a + across * b + draw.uniform(0, 6)) for a, b in waves))
    image = np.stack(planes, axis=2) * 30 + 128 + draw.normal(0, 4, (height, width, 3))
    return np.clip(np.rint(image), 20, 235)


def assert_refused(done: Done, *words: str) -> None:
    """Exit code 2 with one line on standard error that holds the words, and no traceback."""
    assert done.code == 2, done
    assert len(done.err.strip().splitlines()) == 1 and len(done.errors) == 1, done.err
    for word in words:
        assert word in done.err, done.err


def assert_calm(done: Done, code: int) -> None:
    assert done.code == code, done
    assert "Traceback" not in done.err + done.out, done.err
