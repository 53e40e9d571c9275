"""Writing files whole or not at all: the one way in which either package replaces a file."""

from __future__ import annotations

import csv
import io
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary file in the same folder that takes the target's place at the end; nothing of it is left on an error.

    Its name is short wherever the target's own is, and begins with `.part-`. Raises `OSError`.
    """
    temporary = target.with_name(f".part-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield temporary
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write(target: Path, content: bytes | str) -> None:
    """Replace a file, so that a reader sees the old or the new one, never half; text is UTF-8, its line ends as given.

    Makes the folder where there is none. Raises `OSError`.
    """
    payload = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(target) as temporary:
        try:
            temporary.write_bytes(payload)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(payload)


def write_csv(target: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """As `write`, a table with a line of column names."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(target, text.getvalue())
