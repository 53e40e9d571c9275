"""Files of tensors, written whole or not at all, and with the same bytes for the same content."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from iqpir.files import replacing


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Safetensors at `path`; a file there is replaced at once, and its folder is made."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        save_file(dict(tensors), partial, dict(metadata))
        if metadata:
            _sort_metadata(partial)
        partial.chmod(_usual_mode())


def _usual_mode() -> int:
    """What a new file may be used by; safetensors makes one for its owner alone."""
    mask = os.umask(0o022)
    os.umask(mask)
    return 0o666 & ~mask


def _sort_metadata(path: Path) -> None:
    """safetensors leaves the order of the metadata to chance, and then equal networks have other hashes."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > size:
            raise ValueError(f"{path}: a header of {len(text)} bytes in place of {size}")
        file.seek(8)
        file.write(text.ljust(size))
