"""What a console cannot show is escaped, and never ends a command.

Python's own choice is a traceback: on a Windows code page for an arrow or a Chinese label, everywhere for a file name
that is not UTF-8.
"""

from __future__ import annotations

import codecs
import io
import sys

_ASCII = "console-ascii"


def escape_what_cannot_be_shown() -> None:
    """Make standard output and error write `\\u2191` and `\\udce9` for what their encoding has not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # click takes ASCII for a mistake and writes UTF-8 instead; under another name it is believed.
            ascii_only = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_ASCII if ascii_only else None, errors="backslashreplace")


def _find(name: str) -> codecs.CodecInfo | None:
    if name != _ASCII.replace("-", "_"):
        return None
    plain = codecs.lookup("ascii")
    return codecs.CodecInfo(
        name=_ASCII,
        encode=plain.encode,
        decode=plain.decode,
        incrementalencoder=plain.incrementalencoder,
        incrementaldecoder=plain.incrementaldecoder,
        streamreader=plain.streamreader,
        streamwriter=plain.streamwriter,
    )


codecs.register(_find)
