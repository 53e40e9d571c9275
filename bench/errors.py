"""What can go wrong, by who has to act on it.

`BenchError` is a request that cannot be carried out: commands print its one line and exit with 2.
`ItemError` belongs to a single item and becomes a failure row; the run goes on.
"""

from __future__ import annotations

import signal
import threading

from iqpir.errors import counted, one_line, shown, shown_lines, suggest

__all__ = ["BenchError", "ImageError", "ItemError", "MissingFile", "NotApplicable"]
__all__ += ["counted", "described", "from_keyboard", "kind_of", "one_line", "suggest"]


class BenchError(Exception):
    """The request itself is wrong. The message is one line: what, where, remedy.

    Whatever names it holds, as text it is printable: a file name may have any bytes.
    """

    def __str__(self) -> str:
        return shown_lines(super().__str__())


class ItemError(Exception):
    """One item cannot be read, restored or scored. The message is one line and becomes the row's reason."""

    def __str__(self) -> str:
        return shown(super().__str__())


class NotApplicable(ItemError):
    """There is no such value, and none was due: nothing failed. The message is one line and becomes the reason."""


class ImageError(ItemError, BenchError):
    """An image file cannot be decoded into pixels, or may not be (a decompression bomb)."""


class MissingFile(BenchError):
    """A weight or data file is not in the cache; the message names it and the command that brings it."""


def having(count: int, noun: str) -> str:
    """`1 image has`, `2 images have`."""
    return f"{counted(count, noun)} {'has' if count == 1 else 'have'}"


def described(error: BaseException) -> str:
    """An exception for a row's reason: our own by their message alone, anybody else's with the type before it."""
    ours = isinstance(error, BenchError | ItemError)
    return one_line(error) if ours else one_line(f"{type(error).__name__}: {one_line(error)}")


def from_keyboard(error: BaseException) -> bool:
    """Whether an interrupt is the user's, which ends the run; any code may raise one, and then it is that code's row.

    The keyboard's comes in the main thread, of a process that listens to it.
    """
    listens = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    return isinstance(error, KeyboardInterrupt) and listens and threading.current_thread() is threading.main_thread()


def kind_of(value: object) -> str:
    """What something is, in the words of whoever wrote it: `uint8 tensor [1, 3, 4, 4]`, or the name of its type."""
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if dtype is None or shape is None:
        return type(value).__name__
    kind = "tensor" if type(value).__module__.partition(".")[0] == "torch" else "array"
    return f"{str(dtype).removeprefix('torch.')} {kind} {list(shape)}"


def out_of_memory(failure: BaseException) -> bool:
    """Whether a failure says that there was too little memory, whoever raised it."""
    return isinstance(failure, MemoryError) or (
        isinstance(failure, RuntimeError)
        and any(
            words in str(failure).lower() for words in ("out of memory", "can't allocate memory", "not enough memory")
        )
    )
