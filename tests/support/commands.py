"""Commands in this process, in a folder of their own."""

from __future__ import annotations

import pytest

from bench import cli


def bench(*arguments: str) -> int:
    """Exit code of a command; what it prints is for `capsys`."""
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    return int(stop.value.code or 0)
