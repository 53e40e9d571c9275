"""Run a program to its end, or end it: no shell, no terminal, a chosen environment, its whole process group gone after.

What it prints is kept in files for as long as the caller keeps their folder, and only its last line is ever quoted.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.catalog.helper_process import end_group
from bench.errors import ItemError, one_line

_TAIL = 2**16


def run(argv: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float, logs: Path) -> None:
    """Run `argv` in `folder` with exactly that environment; `logs` gets the files `stdout` and `stderr`.

    Raises `ItemError` where it cannot be started, ends with another code than 0, or takes more than `timeout` seconds;
    the message ends with the last line of its standard error. Whatever it left running is killed in every case.
    """
    program = Path(argv[0]).name
    with (logs / "stdout").open("wb") as out, (logs / "stderr").open("wb") as err:
        try:
            process = subprocess.Popen(
                list(argv), cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise ItemError(f"{program} cannot be started: {one_line(error)}") from error
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise ItemError(f"{program} took more than {timeout:g} s and was killed{_last_words(logs)}") from error
        finally:
            end_group(process)
    if code:
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        raise ItemError(f"{program} {how}{_last_words(logs)}")


def last_line(file: Path) -> str:
    """The last line of a log that is not blank; a progress bar's carriage returns count as line ends."""
    with file.open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - _TAIL))
        text = log.read().decode("utf-8", "replace")
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    return one_line(lines[-1], 200) if lines else ""


def _last_words(logs: Path) -> str:
    said = last_line(logs / "stderr") or last_line(logs / "stdout")
    return f": {said}" if said else ", saying nothing"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
