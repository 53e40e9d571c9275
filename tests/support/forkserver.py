"""Starts `bench` commands as processes of their own in milliseconds: a child is forked from one that imported torch.

Each line on standard input is a JSON request; the child's exit code (negative: the signal that ended it) is written to
a file. A forked child is a process like any other – it can be killed, raced and interrupted – it only starts sooner.
What a test says about imports must not be tested through here. Worker processes of these commands are forked likewise,
from one server for all, unless BENCH_TEST_OWN_WORKERS asks for those of a command by itself.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import runpy
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

PRELOADED = (
    "PIL.PngImagePlugin", "PIL.features", "cv2", "multiprocessing.popen_forkserver", "pandas", "psutil", "tabulate",
    "torch", "bench.api", "bench.catalog.rehearsal", "bench.cli.export", "bench.cli.run", "bench.cli.table",
    "bench.data.folder", "bench.export.rows_and_images", "bench.methods.algorithms.filters",
    "bench.methods.algorithms.tone", "bench.methods.classical", "bench.metrics.kernels.windows",
    "bench.metrics.psnr_pooled", "bench.metrics.scorer", "bench.metrics.ssim", "bench.runner.driver",
    "bench.runner.engines.local", "bench.runner.steps", "bench.runner.worker", "bench.tables.beside",
    "bench.tables.paper", "bench.tables.pareto", "bench.tables.render", "scipy.linalg",
)  # fmt: skip


def main() -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    _read_catalogue()
    _load_kernels()
    # A shell starts what it runs in the background deaf to Ctrl-C, and every child would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _start_server_of_workers()
    print("ready", flush=True)
    running: dict[int, str] = {}
    waiting = b""
    while True:
        readable, _, _ = select.select([0], [], [], 0.005 if running else None)
        if readable:
            block = os.read(0, 65536)
            if not block:
                break
            waiting += block
            while b"\n" in waiting:
                line, _, waiting = waiting.partition(b"\n")
                request = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    _child(request)
                running[pid] = request["code"]
                print(pid, flush=True)
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid not in running:  # a helper of multiprocessing's, which the commands to come need
                forkserver.ensure_running()
                continue
            place = Path(running.pop(pid))
            place.with_suffix(".part").write_text(str(os.waitstatus_to_exitcode(status)))
            place.with_suffix(".part").rename(place)
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(0)  # without the seconds that torch takes to leave


def _read_catalogue() -> None:
    """The files are parsed once; the registries themselves are made by each command, with the packages that it sees."""
    from bench import paths
    from bench.catalog import registry

    registry.read_catalogue = functools.cache(registry.read_catalogue)
    for kind in registry.KINDS:
        for file in sorted((paths.catalog() / f"{kind}s").glob("*.yaml")):
            registry.read_catalogue(file, kind)


def _load_kernels() -> None:
    """Numba's compiler starts, and gets from disk what each command's first SSIM would get; it starts no thread."""
    import numpy as np

    from bench.metrics import ssim
    from bench.metrics.view import Levels

    black = np.zeros((1, 16, 16), np.uint8)
    ssim.Ssim().score_levels(Levels(black, black, single=False), {})


def _start_server_of_workers() -> None:
    """Forked from this process as it is, where multiprocessing would start another one that imports all of it again."""
    forkserver.set_forkserver_preload(list(PRELOADED))
    original = forkserver.util.spawnv_passfds
    forkserver.util.spawnv_passfds = _fork_instead
    forkserver.ensure_running()
    forkserver.util.spawnv_passfds = original


def _fork_instead(_: str, arguments: Sequence[str], passed: Sequence[int]) -> int:
    """Run `python -c TEXT`, the last of the arguments, in a fork that has no other files open than it is given."""
    pid = os.fork()
    if pid == 0:
        try:
            for number in [int(place.name) for place in Path("/dev/fd").iterdir()]:
                if number > 2 and number not in passed:
                    with contextlib.suppress(OSError):
                        os.close(number)
            exec(arguments[-1], {})
        finally:
            os._exit(0)
    return pid


def _child(request: dict[str, Any]) -> None:
    """Run one command in the forked process and end it, whatever happens."""
    code = 70
    try:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        os.chdir(request["cwd"])
        os.environ.update(request["env"])
        if "BENCH_TEST_OWN_WORKERS" in request["env"]:
            vars(forkserver._forkserver).update(vars(forkserver.ForkServer()))
        else:
            forkserver._forkserver.ensure_running = lambda: None
        if request["before"] is not None:
            runpy.run_path(request["before"])
        sys.argv = ["bench", *request["arguments"]]
        if request["script"] is not None:
            runpy.run_path(request["script"], run_name="__main__")
            code = 0
        else:
            import bench.cli

            bench.cli.main(request["arguments"])
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:  # noqa: BLE001 – shown to the test as any other traceback
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
