"""Weights in files: reads what the authors' training writes, and reads and writes a container of our own.

Ours is safetensors with the settings in its metadata. The authors' files are pickles that hold tensors under
`params_ema` or `params`, possibly with `module.` before each name; they say nothing of the settings, which are found
from names and shapes. What those cannot tell is assumed to be as published: 8 heads, 32 groups, α 0.8, the threshold,
and an adaLN layer that adds its attention.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from iqpir.errors import IQPIRError, few
from iqpir.network.autoencoder import VQAutoEncoder
from iqpir.network.config import AutoEncoderConfig, IQPIRConfig
from iqpir.network.config_from_tensors import autoencoder_config, restorer_config
from iqpir.network.model import IQPIR
from iqpir.network.photo import PhotoConfig, PhotoIQPIR
from iqpir.rar.config import RARConfig
from iqpir.rar.model import RAR

FORMAT = "iqpir/1"
_CONFIGS: Mapping[str, Any] = {
    "restorer": IQPIRConfig, "autoencoder": AutoEncoderConfig, "photo": PhotoConfig, "rar": RARConfig,
}  # fmt: skip
"""By the kind of network that a file's metadata name."""

# What torch's unpickler raises, by where in a damaged file it stumbles.
DAMAGED = (
    pickle.UnpicklingError, struct.error, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError,
    AssertionError, ArithmeticError, MemoryError, OSError,
)  # fmt: skip


class Checkpoint(NamedTuple):
    """A file's content, not yet a network."""

    state: dict[str, Tensor]
    """As in the file, on the CPU, without a prefix."""
    config: AutoEncoderConfig | PhotoConfig | RARConfig | None
    """None where the file does not say."""
    fidelity_trained: bool
    """Whether the file says that its fidelity blocks were trained."""


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read `.safetensors`, or else a pickle that may hold tensors only (`weights_only=True`).

    Raises `IQPIRError` for a file that is missing, damaged, holds code or NaN, or is no state dict.
    """
    path = Path(path)
    if not path.is_file():
        from iqpir.weights import no_such_file  # only here: what restores an image has nothing to do with it

        raise IQPIRError(no_such_file(path))
    try:
        if path.suffix == ".safetensors":
            found = _read_safetensors(path)
        else:
            found = Checkpoint(tensors_of(torch.load(path, map_location="cpu", weights_only=True)), None, False)
        if name := next((name for name, value in found.state.items() if bool(value.isnan().any())), None):
            raise IQPIRError(f"{name} holds values that are no numbers (NaN): train or download it again")
        return found
    except IQPIRError as error:
        raise IQPIRError(f"{path}: {error}") from error
    except DAMAGED as error:
        first = str(error).split("\n")[0][:160]
        if first.startswith("Weights only load failed"):  # which goes on with how to load code
            first = "neither .safetensors nor a PyTorch file of tensors alone"
        raise IQPIRError(f"{path} cannot be read as weights: {first}") from error


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except SafetensorError as error:
        raise IQPIRError(f"not a safetensors file: {error}") from error
    written = metadata.get("format")
    if written is not None and written.startswith("iqpir-plus/"):
        raise IQPIRError(
            "a score for another network, made by iqpir train plus, and no restorer of its own: it runs in a suite, "
            "{method: plus, options: {host: NAME, weights: FILE}}"
        )
    if written is None or not written.startswith("iqpir/"):
        return Checkpoint(tensors_of(state), None, False)
    if written != FORMAT:
        raise IQPIRError(f"written as {written} by a later version, and this one reads {FORMAT}")
    try:
        made = _CONFIGS[metadata["kind"]]
        config = made.from_dict(json.loads(metadata["config"]))
    except (KeyError, ValueError, TypeError) as error:
        raise IQPIRError(f"its metadata are damaged: {error}") from error
    return Checkpoint(state, config, metadata.get("fidelity_trained") == "true")


def save_checkpoint(
    network: VQAutoEncoder | PhotoIQPIR | RAR, path: str | os.PathLike[str], *, dtype: torch.dtype | None = None
) -> None:
    """Write tensors and settings to `path`, which must end in `.safetensors`; a file there is replaced at once.

    Equal networks are equal files.

    `dtype`: what floating tensors are stored in, such as float16 for a file of half the size; None: as they are.
    Networks are read as float32 whatever the file holds.
    """
    from iqpir.tensors import write_tensors

    path = Path(path)
    if path.suffix != ".safetensors":
        raise IQPIRError(f"{path}: our checkpoints end in .safetensors")
    if isinstance(network, PhotoIQPIR | RAR):
        kind, config, trained = "rar" if isinstance(network, RAR) else "photo", network.config.as_dict(), True
    else:
        kind = "restorer" if isinstance(network, IQPIR) else "autoencoder"
        config = replace(network.config, alpha=network.alpha).as_dict()
        trained = isinstance(network, IQPIR) and network.fidelity_trained
    metadata = {
        "format": FORMAT,
        "kind": kind,
        "config": json.dumps(config),
        "fidelity_trained": "true" if trained else "false",
    }
    state = {
        name: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else None).contiguous()
        for name, tensor in network.state_dict().items()
    }
    write_tensors(state, path, metadata)


def tensors_of(content: Any) -> dict[str, Tensor]:
    """The named tensors in what a training run saved: `params_ema`, else `params`, else itself; `module.` removed.

    Raises `IQPIRError` for anything else.
    """
    for container in ("params_ema", "params"):
        if isinstance(content, Mapping) and isinstance(content.get(container), Mapping):
            content = content[container]
            break
    if not isinstance(content, Mapping) or not content:
        raise IQPIRError(f"it holds {type(content).__name__}, not named tensors")
    strange = [
        str(name) for name, value in content.items() if not isinstance(name, str) or not isinstance(value, Tensor)
    ]
    if strange:
        raise IQPIRError(f"it holds more than named tensors: {few(strange)}")
    if all(name.startswith("module.") for name in content):
        return {name.removeprefix("module."): value for name, value in content.items()}
    return dict(content)


def load_restorer(
    path: str | os.PathLike[str],
    *,
    alpha: float | None = None,
    config: IQPIRConfig | None = None,
    fidelity_trained: bool = False,
) -> IQPIR:
    """A float32 restorer on the CPU from a file; see `restorer_from_state` for the arguments."""
    return _restorer(path, read_checkpoint(path), alpha, config, fidelity_trained)


def _restorer(
    path: str | os.PathLike[str],
    file: Checkpoint,
    alpha: float | None,
    config: IQPIRConfig | None = None,
    fidelity_trained: bool = False,
) -> IQPIR:
    if isinstance(file.config, PhotoConfig):
        raise IQPIRError(f"{path}: a network for photographs, not IQPIR alone: iqpir.checkpoint.load reads both")
    if isinstance(file.config, RARConfig):
        raise IQPIRError(f"{path}: a system of RAR, not IQPIR: iqpir.rar.RAR.from_checkpoint reads it")
    if config is None and isinstance(file.config, IQPIRConfig):
        config = file.config
    try:
        trained = fidelity_trained or file.fidelity_trained
        return restorer_from_state(file.state, alpha=alpha, config=config, fidelity_trained=trained)
    except IQPIRError as error:
        raise IQPIRError(f"{path}: {error}") from error


def load_photo(path: str | os.PathLike[str]) -> PhotoIQPIR:
    """A float32 network for photographs on the CPU from a file. Raises `IQPIRError` for a file of another kind."""
    file = read_checkpoint(path)
    if not isinstance(file.config, PhotoConfig):
        raise IQPIRError(f"{path}: not a network for photographs: it has no front end")
    return _photo(path, file.config, file.state)


def load(path: str | os.PathLike[str], *, alpha: float | None = None) -> IQPIR | PhotoIQPIR:
    """Whatever restores images, float32 on the CPU, from a file. `alpha` is IQPIR's, see `restorer_from_state`."""
    file = read_checkpoint(path)
    if not isinstance(file.config, PhotoConfig):
        return _restorer(path, file, alpha)
    if alpha is not None:
        raise IQPIRError(f"{path}: alpha is for IQPIR alone; in a network for photographs it is as it was trained")
    return _photo(path, file.config, file.state)


def _photo(path: str | os.PathLike[str], config: PhotoConfig, state: Mapping[str, Tensor]) -> PhotoIQPIR:
    with torch.random.fork_rng(devices=[]):
        network = PhotoIQPIR(config)
    try:
        check_fit(network.state_dict(), state, "these tensors do not make a PhotoIQPIR")
    except IQPIRError as error:
        raise IQPIRError(f"{path}: {error}") from error
    network.load_state_dict(dict(state))
    return network.eval()


def load_rar(path: str | os.PathLike[str]) -> RAR:
    """A float32 system of RAR on the CPU, whole or of a stage. Raises `IQPIRError` for a file of another kind."""
    file = read_checkpoint(path)
    if not isinstance(file.config, RARConfig):
        raise IQPIRError(f"{path}: not a system of RAR: it has no latent of its own")
    with torch.random.fork_rng(devices=[]):
        network = RAR(file.config)
    try:
        check_fit(network.state_dict(), file.state, "these tensors do not make a RAR")
    except IQPIRError as error:
        raise IQPIRError(f"{path}: {error}") from error
    network.load_state_dict(dict(file.state))
    return network.eval()


def load_any(path: str | os.PathLike[str]) -> VQAutoEncoder | PhotoIQPIR | RAR:
    """The network of a file that says what it is, float32 on the CPU."""
    from iqpir.weights import kind_of  # here: what restoring imports is part of its identity

    kind = kind_of(path)
    if kind == "rar":
        return load_rar(path)
    return load_autoencoder(path) if kind == "autoencoder" else load(path)


def load_autoencoder(path: str | os.PathLike[str], *, alpha: float | None = None) -> VQAutoEncoder:
    """A float32 autoencoder on the CPU from a file."""
    file = read_checkpoint(path)
    if isinstance(file.config, PhotoConfig | RARConfig):
        what = "a network for photographs" if isinstance(file.config, PhotoConfig) else "a system of RAR"
        raise IQPIRError(f"{path}: {what}, not an autoencoder")
    try:
        return autoencoder_from_state(file.state, alpha=alpha, config=file.config)
    except IQPIRError as error:
        raise IQPIRError(f"{path}: {error}") from error


def restorer_from_state(
    state: Mapping[str, Tensor],
    *,
    alpha: float | None = None,
    config: IQPIRConfig | None = None,
    fidelity_trained: bool = False,
) -> IQPIR:
    """A float32 restorer on the CPU with copies of these tensors.

    `config`: None finds it from names and shapes. `alpha`: weight of the HQ+ codebook, which no tensor tells; None is
    the config's, and 0.8 where it was found. `fidelity_trained`: that the fidelity blocks are known to be trained.
    Raises `IQPIRError` with a few of the tensors that are missing, foreign or of another shape.
    """
    state = tensors_of(state)
    config = config or restorer_config(state)
    if alpha is not None:
        config = replace(config, alpha=alpha)
    with torch.random.fork_rng(devices=[]):  # loading a file draws no random numbers from the caller's generator
        network = IQPIR(config, fidelity_trained=fidelity_trained)
    return _filled(network, state)


def autoencoder_from_state(
    state: Mapping[str, Tensor], *, alpha: float | None = None, config: AutoEncoderConfig | None = None
) -> VQAutoEncoder:
    """A float32 autoencoder on the CPU with copies of these tensors; the arguments are `restorer_from_state`'s."""
    state = tensors_of(state)
    config = config or autoencoder_config(state)
    if alpha is not None:
        config = replace(config, alpha=alpha)
    with torch.random.fork_rng(devices=[]):
        network = VQAutoEncoder(config)
    return _filled(network, state)


def _filled(network: VQAutoEncoder, state: Mapping[str, Tensor]) -> Any:
    check_fit(network.state_dict(), state, f"these tensors do not make a {type(network).__name__}")
    network.load_state_dict(dict(state))
    return network.eval()


def check_fit(own: Mapping[str, Tensor], given: Mapping[str, Tensor], failure: str) -> None:
    """Raise `IQPIRError` with a few of the names that are missing, foreign or of another shape; else do nothing."""
    shapes = [
        f"{name} is {tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    problems = {
        "missing": [name for name in own if name not in given],
        "foreign": [name for name in given if name not in own],
        "shape": shapes,
    }
    said = [f"{problem} {few(names)}" for problem, names in problems.items() if names]
    if said:
        raise IQPIRError(f"{failure}: {'; '.join(said)}")
