"""What can go wrong in IQPIR, by who has to act on it.

`IQPIRError` is a request that cannot be carried out: commands print its one line and exit with 2. `ImageFailure`
belongs to a single image and becomes a row with a reason; the work goes on.
"""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Iterable, Sequence


class IQPIRError(Exception):
    """The request cannot be carried out. The message is one line: what, where, remedy.

    Whatever names it holds, as text it is printable: a file name may have any bytes.
    """

    def __str__(self) -> str:
        return shown_lines(super().__str__())


class ImageFailure(Exception):
    """One image cannot be read, restored or scored. The message is one line."""

    def __str__(self) -> str:
        return shown(super().__str__())


class FidelityWarning(UserWarning):
    """`fidelity` > 0 was asked of a network whose fidelity weights are not known to be trained."""


def few(names: Sequence[str], limit: int = 3) -> str:
    """`"a, b, c and 4 more"`."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def suggest(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'assess'?"` for the nearest known name, or an empty string when nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def counted(count: int, what: str) -> str:
    """`"1 image"`, `"2 images"`: a count and its noun, which is given in the singular."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """An exception or text as one printable line, so that rows and messages never break a table."""
    text = error if isinstance(error, str) else (_said(error) or type(error).__name__)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _said(error: BaseException) -> str:
    """`str(error)`, empty for one whose text cannot be made: an exception may come from any code, and so does this."""
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 – what is at stake is a message
        return "(its message cannot be read)"


def shown(name: str | os.PathLike[str]) -> str:
    """A path or name as printable text of one line: control characters and undecodable bytes become escapes.

    What is stored, written into a file or put on a console goes through here once; opening a file never does.
    """
    return "".join(_escaped(sign) for sign in os.fspath(name))


def shown_lines(message: object) -> str:
    """`shown` for a message, whose own lines stay lines."""
    return "\n".join(shown(line) for line in str(message).split("\n"))


def _escaped(sign: str) -> str:
    if sign.isprintable() or unicodedata.category(sign) == "Zs":
        return sign
    return sign.encode("unicode_escape", "surrogatepass").decode("ascii")
