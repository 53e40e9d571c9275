"""What adapters share on the way to a loaded network: a weight file that an option names, and what may go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench import paths
from bench.errors import BenchError, one_line
from bench.identity import file_hash
from bench.methods.base import Method
from iqpir.errors import IQPIRError
from iqpir.weights import shipped

if TYPE_CHECKING:
    from torch.nn import Module

T = TypeVar("T")

RANDOM = "random"
"""The value of an option `weights` for a network drawn from a fixed seed: it is timed, and never scored."""


def random_weights(name: str) -> str:
    """Why such a method cannot be scored."""
    return f"{name} has random weights: bench latency times it, it is not scored without the option weights"


class NamedFile:
    """A weight file that an option names: found when a method is made, hashed when it is identified, read when it is
    loaded."""

    def __init__(self, where: str, option: str, named: str, base: Path | None, remedy: str = "") -> None:
        """A file on disk, or the name of one that comes with the package `iqpir`. Raises `BenchError`."""
        own = shipped(named)
        self.path = own or paths.find(named, base)
        self.ships = own is not None
        self._digest: str | None = None
        if not self.path.is_file():
            raise BenchError(f"{where}: option {option!r} names {self.path}, and there is no such file{remedy}")

    def digest(self) -> str:
        """Its SHA-256, which `unchanged` holds it to."""
        self._digest = file_hash(self.path)
        return self._digest

    def unchanged(self, name: str) -> Path:
        """The file, as it was when `name` was identified. Raises `BenchError` where it is another now."""
        return unchanged(name, self.path, self._digest)


def unchanged(name: str, path: Path, digest: str | None) -> Path:
    """A weight file whose bytes still have the SHA-256 that a method was identified by; None: it was not yet."""
    if digest is not None and file_hash(path) != digest:
        raise BenchError(f"{name}: {path} changed while it was in use")
    return path


def loaded(thing: T | None, name: str) -> T:
    """What `load` has left. Raises `BenchError` where there is nothing yet."""
    if thing is None:
        raise BenchError(f"method {name!r} is used before load()")
    return thing


def parameter_count(network: Module | None) -> int | None:
    return None if network is None else sum(one.numel() for one in network.parameters())


class NetworkHolder(Method):
    """A method that is one network, which `load` leaves in `_network`."""

    _network: Module | None = None

    @property
    def network(self) -> Module:
        """The loaded network itself: without padding, without tiles."""
        return loaded(self._network, self.name)

    def run_instead(self, forward: Any) -> None:
        """Let something else stand in the loaded network's place: what is called as it is."""
        self._network = forward

    def parameters(self) -> int | None:
        return parameter_count(self._network)

    def close(self) -> None:
        self._network = None


@contextmanager
def loading(name: str, device: str, dtype: str) -> Iterator[None]:
    """What torch raises for a device or dtype that is not there, a class for an argument that it does not take, and
    `iqpir` for a file, as `BenchError`; too little memory stays what it is."""
    import torch

    try:
        yield
    except IQPIRError as error:
        raise BenchError(f"{name}: {error}") from error
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, AttributeError, AssertionError, TypeError) as error:
        raise BenchError(f"{name} cannot be loaded on {device!r} in {dtype!r}: {one_line(error)}") from error
