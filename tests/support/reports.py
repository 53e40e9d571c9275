"""A working folder for pages and figures, and a suite with everything that goes wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import cli
from bench.data.images import decode

NASTY = "<img src=x onerror=alert(1)> & {{ 7*7 }} “é”"
TITLE = '</title><script>alert(2)</script> & "title"'

SUITE = f"""\
schema: 1
title: '{TITLE}'
datasets:
  - {{dataset: folder, options: {{lq: "lq/*.png", gt: "gt/*.png"}}, label: pairs}}
  - {{dataset: folder, options: {{lq: "lq/*.png"}}, label: no references}}
methods:
  - identity
  - {{method: gamma, options: {{gamma: 0.6}}, label: '{NASTY}'}}
  - {{method: gamma, sweep: {{gamma: [0.8, 1.5, 2.0]}}, label: "Bright g={{gamma}}"}}
  - {{method: folder, options: {{path: made}}, label: Mine}}
metrics: [psnr, ssim]
"""


class Workplace(NamedTuple):
    """A folder with a suite, its files and the results of its run."""

    root: Path

    def bench(self, *arguments: str) -> int:
        before = Path.cwd()
        os.chdir(self.root)
        try:
            cli.main(list(arguments))
        except SystemExit as stop:
            return int(stop.code or 0)
        finally:
            os.chdir(before)
        raise AssertionError("a command ends by leaving")

    def page(self, *arguments: str, name: str = "page.html") -> str:
        assert self.bench("report", "nasty", "-o", name, *arguments) == 0
        return (self.root / name).read_text(encoding="utf-8")

    def pixels(self, name: str) -> np.ndarray:
        return decode(self.root / name)
