"""Adapter for `kind: command`: a program that reads a folder of images and writes one, in an environment of its own.

One process restores one call's images, which are of one size; `--batch N` lets N of them share a process, for a
repository that is slow to start. A program that takes one file or one seed (`{input_file}`, `{output_file}`, `{seed}`)
is started once per image. An image's own id never reaches the program: files are called 000000.png and so on, which no
script can misread.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from bench import paths
from bench.catalog.registry import Entry
from bench.errors import BenchError, ItemError, MissingFile
from bench.methods import exchange, origins, patched, process
from bench.methods.base import Method
from bench.methods.loading import loaded
from bench.methods.options import Option, declared_options, resolve
from bench.methods.versions import code_versions, versions

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

OPTIONS = {
    "argv": Option("argv", None, list, required=True),
    "repo": Option("repo", None, str),
    "folder": Option("folder", ".", str),
    "python": Option("python", None, str),
    "pattern": Option("pattern", "{id}.*", str),
    "inputs": Option("inputs", ["{id}.png"], list),
    "files": Option("files", None, list),
    "environment": Option("environment", None, list),
    "config": Option("config", None, str),
    "timeout": Option("timeout", 600.0, float, min=0.001),
    "scale": Option("scale", 1, int, min=1, max=64),
    "size": Option("size", None, list),
    "multiple": Option("multiple", 1, int, min=1, max=1024),
    "least": Option("least", 1, int, min=1, max=4096),
}
"""Every command takes these; what else its entry declares are fields of its argv.

`argv`       program and arguments, each with fields in braces: {input} {output} {input_file} {output_file} {seed}
             {device} {python} {repo} {config} {patched}, and the entry's own options; {patched} is the script
             bench/methods/patched.py, which runs a script of the repository with some of its text replaced and with
             the visible graphics processors that the user chose
`repo`       the clone of its repository, where it runs
`folder`     the folder in the clone (or in the temporary folder, without one) that it is started in
`python`     what {python} stands for: the interpreter of its environment; that of bench when left out
`pattern`    where in {output} an image's output lies: `{id}`, `*`, and `.*` for any image suffix
`inputs`     where in {input} each image is put; several patterns for a script that wants copies
`files`      weights and other files, in the clone, that its output depends on; a folder stands for all in it, and the
             entry's own options may be fields of a name
`environment`  `NAME=value` sets a variable, `NAME` passes one on: what can change an output is to be set, not passed
`config`     text of a configuration file, with the same fields; {config} in argv is its path
`timeout`    seconds that one process may take
`scale`      output size divided by input size
`size`       [width, height] of the only images it takes: others are failures, and it is not started for them
`multiple`   images are grown by reflection at the right and bottom until their sides are multiples, outputs cropped
`least`      likewise until no side is shorter
"""
FIELDS = frozenset(
    {"input", "output", "input_file", "output_file", "seed", "device", "python", "repo", "config", "patched"}
)
_IN_KEY = ("argv", "config", "folder", "pattern", "inputs", "environment", "multiple", "least")
_PATCHED = Path(patched.__file__)
_ONE_IMAGE = frozenset({"input_file", "output_file", "seed"})
_INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "CUDA_HOME",
    "CUDA_VISIBLE_DEVICES", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "SYSTEMROOT",
)  # fmt: skip
"""What every program may need to find its libraries and caches; nothing else is handed on unasked."""
_FIELD = re.compile(r"\{(\w+)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class CommandMethod(Method):
    """Runs `argv` on a folder of PNGs and reads what it wrote."""

    def __init__(self, entry: Entry, options: Mapping[str, Any], base: Path | None = None) -> None:
        self.name = entry.name
        self._where = f"method {entry.name!r} ({entry.origin})"
        self._fields = {name: str(value) for name, value in options.items() if name not in OPTIONS}
        self._argv = _texts(self._where, "argv", options["argv"])
        self._config = options["config"]
        self._used = {field for part in (*self._argv, self._config or "") for field in _FIELD.findall(part)}
        self.scale = options["scale"]
        self.stochastic = "seed" in self._used
        self._options = {name: options[name] for name in _IN_KEY}
        self._pattern, self._timeout = options["pattern"], options["timeout"]
        self._size, self._multiple, self._least = options["size"], options["multiple"], options["least"]
        self._inputs = _texts(self._where, "inputs", options["inputs"])
        self._home = entry.fields.get("home")
        self._weights = (entry.fields.get("weights") or {}).get("instructions")
        self._repo = paths.find(options["repo"], base).absolute() if options["repo"] else None
        self._python = self._interpreter(options["python"], base)
        self._set, self._passed = self._variables(options["environment"])
        files = _texts(self._where, "files", options["files"])
        foreign = sorted({field for file in files for field in _FIELD.findall(file)} - set(self._fields))
        if foreign:
            raise BenchError(f"{self._where}: option 'files' may hold only options of its own, not {{{foreign[0]}}}")
        self._files = [self._file(_fill(file, self._fields), base) for file in files]
        self._folder = options["folder"]
        self._device: str | None = None
        self._known: dict[str, Any] | None = None
        self._check()

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> CommandMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        return cls(entry, resolve(where, declared_options(where, entry.fields, OPTIONS), options), base)

    def _check(self) -> None:
        known = FIELDS | set(self._fields)
        foreign = sorted(self._used - known)
        if foreign:
            raise BenchError(f"{self._where}: argv may hold {_braces(known)}, not {{{foreign[0]}}}")
        clash = sorted(FIELDS & set(self._fields))
        if clash:
            raise BenchError(f"{self._where}: an option may not be called {clash[0]!r}, which argv has already")
        if "config" in self._used and self._config is None:
            raise BenchError(f"{self._where}: argv holds {{config}}, and the option 'config' is not given")
        if not self._used & {"output", "output_file"}:
            raise BenchError(f"{self._where}: argv must hold {{output}} or {{output_file}}, or nothing comes back")
        for option, texts in (("pattern", [self._pattern]), ("inputs", self._inputs)):
            for text in texts:
                if "{id}" not in text or not _inside(text):
                    raise BenchError(f"{self._where}: option {option!r} must be a path with {{id}} below its folder")
        if self._size is not None and not _is_size(self._size):
            raise BenchError(f"{self._where}: option 'size' must be [width, height], not {self._size!r}")
        if not _inside(self._folder) and self._folder != ".":
            raise BenchError(f"{self._where}: option 'folder' must be a path in the clone, not {self._folder!r}")
        if self._repo is not None and not self._repo.is_dir():
            raise BenchError(f"{self._where}: option 'repo' names {self._repo}, and there is no such folder")
        if "repo" in self._used and self._repo is None and self._home is None:
            raise BenchError(f"{self._where}: argv holds {{repo}}, and the option 'repo' is not given")

    def _interpreter(self, given: str | None, base: Path | None) -> Path:
        if given is None:
            return Path(sys.executable)
        if "/" not in given and os.sep not in given:
            found = shutil.which(given)
            if found is None:
                raise BenchError(f"{self._where}: there is no Python called {given!r} on the PATH")
            return Path(found)
        path = paths.find(given, base).absolute()  # not resolved: a virtual environment is known by its link
        if not path.is_file():
            raise BenchError(f"{self._where}: option 'python' names {path}, and there is no such file")
        return path

    def _file(self, name: str, base: Path | None) -> tuple[str, Path | None]:
        """A declared file as it is written, and where it lies; None below a clone that is not there."""
        if self._home is None and self._repo is None:
            return name, paths.find(name, base)
        if Path(name).is_absolute():
            return name, Path(name)
        if not _inside(name):
            raise BenchError(f"{self._where}: option 'files': {name!r} leaves the clone")
        return name, None if self._repo is None else self._repo / name

    def _variables(self, given: list[Any] | None) -> tuple[dict[str, str], list[str]]:
        """Variables that are set, and names of those that are passed on."""
        fixed: dict[str, str] = {}
        passed: list[str] = []
        for text in _texts(self._where, "environment", given):
            name, sign, value = text.partition("=")
            if not _VARIABLE.fullmatch(name) or "\0" in value:
                raise BenchError(f"{self._where}: option 'environment': {text!r} is neither NAME nor NAME=value")
            if sign:
                fixed[name] = value
            else:
                passed.append(name)
        return fixed, passed

    def foreign_code(self) -> str | None:
        return "starts a program that the suite names"

    def unavailable(self) -> str | None:
        weights = f"; weights: {self._weights}" if self._weights else ""
        if self._home is not None and self._repo is None:
            clone = f"git clone {self._home}, then options: {{repo: …, python: …}}"
            return f"{self.name} runs in its official repository: {clone}{weights}"
        gone = [name for name, path in self._files if path is None or not path.exists()]
        if gone:
            return f"{self.name} lacks {', '.join(gone[:3])} in {self._repo or 'the working directory'}{weights}"
        return None

    def identity(self) -> Mapping[str, Any]:
        if self._known is None:
            self._known = self._describe()
        return self._known

    def _describe(self) -> dict[str, Any]:
        reason = self.unavailable()
        if reason is not None:
            raise MissingFile(reason)
        described = {
            "kind": "command",
            **self._options,
            "fields": self._fields,
            "scale": self.scale,
            "files": [origins.content(self._where, path) for _, path in self._files if path is not None],
            "repo": None if self._repo is None else origins.checkout(self._where, self._repo),
            "program": self._program(),
            "sources": code_versions((__name__, exchange.__name__)),
            "patched": versions()[patched.__name__].version if "patched" in self._used else None,
        }
        if "python" in self._used:
            described["python"] = origins.interpreter(self._where, self._python, self._environment(None))
        return described

    def _program(self) -> str | None:
        """Hash of a program that is neither the interpreter nor a file of the clone, which stand for themselves."""
        program = self._argv[0]
        if _FIELD.search(program) or (self._repo is not None and "/" in program and not Path(program).is_absolute()):
            return None
        found = shutil.which(program) if Path(program).is_absolute() or "/" not in program else None
        if found is None:
            raise BenchError(f"{self._where}: there is no program {program!r} (a name on the PATH or a full path)")
        return origins.content(self._where, Path(found))

    def load(self, device: str, dtype: str) -> None:
        if dtype != "float32":
            raise BenchError(f"{self._where}: a command takes 8- or 16-bit files, it cannot be loaded in {dtype}")
        known, self._known = self.identity(), None
        if self.identity() != known:
            raise BenchError(f"{self._where}: its repository, packages or files changed since the run was planned")
        self._device = device

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        import numpy as np
        import torch

        loaded(self._device, self.name)
        height, width = images.shape[2:]
        if self._size is not None and [width, height] != self._size:
            only = "×".join(map(str, self._size))
            raise ItemError(f"{self.name} takes images of {only} alone, and this one is {width}×{height}")
        planes = self._grown(images.detach().float().cpu().numpy())
        if not self._used & _ONE_IMAGE:
            made = self._call(planes, None)
        else:
            drawn = [None] * len(planes) if seeds is None else [int(seed) for seed in seeds]
            made = np.concatenate([self._call(planes[n : n + 1], seed) for n, seed in enumerate(drawn)])
        cropped = np.ascontiguousarray(made[:, :, : height * self.scale, : width * self.scale])
        return torch.from_numpy(cropped).to(images.device)

    def _grown(self, images: np.ndarray) -> np.ndarray:
        """[B,3,H,W] reflected at the right and bottom, as often as it takes, to sizes that the program can work on."""
        import numpy as np

        more = [max(self._least - side, 0) for side in images.shape[2:]]
        more = [add + -(side + add) % self._multiple for side, add in zip(images.shape[2:], more, strict=True)]
        return np.pad(images, ((0, 0), (0, 0), *((0, add) for add in more)), mode="reflect") if any(more) else images

    def _call(self, images: np.ndarray, seed: int | None) -> np.ndarray:
        """One process: float32 [B,3,H,W] → float32 [B,3,s·H,s·W]. Raises `ItemError`."""
        names = [f"{index:06d}" for index in range(len(images))]
        # What a program wrote may not be ours to delete (a folder without rights): never a reason to lose its images.
        with tempfile.TemporaryDirectory(prefix="bench-command-", ignore_cleanup_errors=True) as place:
            root = Path(place).resolve()
            given, made, scratch, logs = (root / name for name in ("input", "output", "scratch", "logs"))
            for folder in (given, made, scratch, logs):
                folder.mkdir()
            exchange.write_images(given, self._inputs, names, images)
            fields = {
                **self._fields, "input": given, "output": made, "python": self._python, "repo": self._repo or "",
                "patched": _PATCHED, "device": self._device, "seed": 0 if seed is None else seed % 2**31,
                "input_file": given / self._inputs[0].replace("{id}", names[0]),
                "output_file": made / self._pattern.replace("{id}", names[0]).replace(".*", ".png"),
            }  # fmt: skip
            if self._config is not None:
                fields["config"] = root / "config.yml"
                (root / "config.yml").write_text(_fill(self._config, fields), encoding="utf-8")
            argv = [_fill(part, fields) for part in self._argv]
            start = (self._repo or root) / self._folder
            process.run(argv, start, self._environment(scratch), self._timeout, logs)
            height, width = images.shape[2:]
            return exchange.read_images(made, self._pattern, names, (height * self.scale, width * self.scale))

    def _environment(self, scratch: Path | None) -> dict[str, str]:
        """The whole environment: what programs need to start, what is passed on by name, what is set."""
        found = {name: os.environ[name] for name in (*_INHERITED, *self._passed) if name in os.environ}
        if "python" in self._used:
            found["PATH"] = os.pathsep.join(filter(None, [str(self._python.parent), found.get("PATH")]))
        if scratch is not None:
            found["TMPDIR"] = str(scratch)
        return {**found, **self._set}

    def close(self) -> None:
        self._device = None


def _texts(where: str, option: str, values: list[Any] | None) -> list[str]:
    for value in values or []:
        if not isinstance(value, str) or "\0" in value:
            raise BenchError(f"{where}: option {option!r} is a list of texts, and {value!r} is none (put it in quotes)")
    return list(values or [])


def _is_size(given: list[Any]) -> bool:
    return len(given) == 2 and all(type(side) is int and side > 0 for side in given)


def _fill(template: str, fields: Mapping[str, Any]) -> str:
    """Substitute by name, in one pass: a value that looks like a field stays as it is."""
    return _FIELD.sub(lambda match: str(fields[match[1]]), template)


def _inside(relative: str) -> bool:
    """Whether a path stays below the folder it is joined to, on any system."""
    path = PurePosixPath(relative.replace("\\", "/"))
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in relative


def _braces(names: frozenset[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))
