"""Times as the store holds them, and which of them belong to a run.

A row is one method at one setting on one machine, with every sample. It is identified by the digest of the method's
identity; a method that has none here (weights missing, never loaded) by what was asked for: its name and options.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bench.errors import BenchError
from bench.identity import digest
from bench.results.record import read
from bench.results.schema import LatencyRow
from bench.results.store import Store
from bench.suite.setting import Mode, Setting, Size, parse_dtype, parse_sizes

_LITTLE = np.dtype("<f8")


class Timing(NamedTuple):
    """One method at one setting: its samples, or the reason why there are none."""

    label: str
    name: str
    """In the catalogue."""
    setting: Setting
    machine: str
    """Hex digest of `fingerprint`; times of two machines are never compared."""
    fingerprint: Mapping[str, Any]
    """CPU model, cores, GPU, driver, torch."""
    status: str
    """ok or failed."""
    reason: str | None
    samples: np.ndarray
    """Wall-clock nanoseconds per call, float64; the first is the first after warming. Empty for a failure."""
    events: np.ndarray
    """The same calls between two CUDA events; empty on the CPU."""
    cpu: np.ndarray
    """CPU time of the process during the same calls, all threads; empty on a GPU."""
    record: Mapping[str, Any]
    """Everything else: `stop` (which rule), `load_ns`, `first_ns`, `warm` (calls), `stages`, `memory`, `parameters`,
    `flops`, `weights` (random where they are), `noise` (lines that tell what disturbed it), `environment`, `order`."""
    session: str
    """What was measured together, in turns, has one session: only there are samples of the same index a pair."""
    written: float
    method: bytes | None = None
    """Digest of the method's identity."""
    request: bytes = b""
    """Digest of its name and options."""

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def median_ms(self) -> float:
        """Median wall-clock milliseconds per call; NaN for a failure."""
        return float(np.median(self.samples)) / 1e6 if self.samples.size else float("nan")

    @property
    def probe(self) -> list[float]:
        """Nanoseconds of the machine's probe before and after the calls; empty for older rows."""
        found = self.record.get("probe") or {}
        return [*found.get("before", ()), *found.get("after", ())]

    @property
    def noise(self) -> list[str]:
        return list(self.record.get("noise", ()))


def method_digest(identity: Mapping[str, Any]) -> bytes:
    """What stands for a method whatever it is called: everything that can change its output."""
    return digest(["latency", 1, dict(identity)])


def request_digest(name: str, options: Mapping[str, Any]) -> bytes:
    """What stands for a method as it was asked for, known without its weights."""
    return digest(["latency request", 1, name, dict(options)])


def put(store: Store, timing: Timing) -> None:
    """Write a row."""
    setting = timing.setting
    store.put_latency(
        LatencyRow(
            id=0, session=timing.session, label=timing.label, name=timing.name, method=timing.method,
            request=timing.request, height=setting.size.height, width=setting.size.width, batch=setting.batch,
            dtype=setting.dtype, device=setting.kind, mode=setting.mode, threads=setting.threads,
            machine=bytes.fromhex(timing.machine), description=json.dumps(dict(timing.fingerprint), ensure_ascii=False),
            status=timing.status, reason=timing.reason, samples=_blob(timing.samples), events=_blob(timing.events),
            cpu=_blob(timing.cpu), record=json.dumps(dict(timing.record), ensure_ascii=False, allow_nan=False),
            written=timing.written or time.time(),
        )
    )  # fmt: skip


def find(store: Store, *, methods: Iterable[bytes] = (), requests: Iterable[bytes] = ()) -> list[Timing]:
    """Rows of these identities, or of these requests, newest first."""
    rows = {row.id: row for row in store.latencies("method", methods)}
    rows |= {row.id: row for row in store.latencies("request", requests)}
    return [_timing(rows[number]) for number in sorted(rows, reverse=True)]


def of_session(store: Store, session: str) -> list[Timing]:
    """Everything that was measured together, in the order in which it was written."""
    return [_timing(row) for row in reversed(store.latencies("session", [session]))]


def asked(definition: Mapping[str, Any], provenance: Mapping[str, Any], mode: Mode = "synchronised") -> Setting | None:
    """What the `latency:` of a run's suite asks for, with 0 for threads, which it leaves open; None without it."""
    spec = definition.get("latency")
    if spec is None:
        return None
    kind = str(provenance.get("device", "cpu")).partition(":")[0]
    return Setting(parse_sizes(spec["size"])[0], 1, parse_dtype(spec["dtype"]), kind, mode, 0)


def of_run(store: Store, run: int, *, machine: str | None = None, mode: Mode = "synchronised") -> list[Timing]:
    """The newest time of every method of a run, at the setting that its suite's `latency:` names, in the run's order.

    Batch 1, on the kind of device that the run used, all at one number of threads (that of most), on one machine:
    `machine` (the hex digest of its fingerprint), else the one that has the newest of these rows. Empty where the suite
    has no `latency:` or nothing was measured; a method without a row is left out, one that failed is there with its
    reason. A method whose output is restored is found by its identity; one that is only timed (random weights) by name
    and options.
    Raises `BenchError` for a run that does not exist.
    """
    row = store.run(run)
    if row is None:
        raise BenchError(f"no run {run} in {store.path} (bench runs)")
    record, provenance = read(row)
    setting = asked(record.definition, provenance, mode)
    if setting is None:
        return []
    wanted = [
        (method.label, method_digest(identity) if identity else None, request_digest(method.name, options))
        for method in record.methods
        for identity, options in [method.timed]
    ]  # fmt: skip
    known = [
        timing
        for timing in find(
            store,
            methods=[identity for _, identity, _ in wanted if identity is not None],
            requests=[request for _, identity, request in wanted if identity is None],
        )
        if timing.setting._replace(threads=0) == setting
    ]
    if machine is None and known:
        machine = known[0].machine
    threads = _commonest_threads([timing for timing in known if timing.machine == machine])
    found: list[Timing] = []
    for label, identity, request in wanted:
        mine = (
            timing for timing in known
            if timing.machine == machine and timing.setting.threads == threads
            and (timing.method == identity if identity is not None else timing.request == request)
        )  # fmt: skip
        newest = next(mine, None)
        if newest is not None:
            found.append(newest._replace(label=label))
    return found


def _commonest_threads(known: Sequence[Timing]) -> int | None:
    """The number of threads at which most methods have a time, of equally many the newest; times at others are no
    column with them. `known` has the newest first."""
    timed: dict[int, set[tuple[bytes | None, bytes]]] = {timing.setting.threads: set() for timing in known}
    for timing in known:
        if timing.ok:
            timed[timing.setting.threads].add((timing.method, timing.request))
    return max(timed, key=lambda threads: len(timed[threads]), default=None)


def _timing(row: LatencyRow) -> Timing:
    mode: Mode = "dispatch" if row.mode == "dispatch" else "synchronised"
    return Timing(
        label=row.label, name=row.name,
        setting=Setting(Size(row.height, row.width), row.batch, row.dtype, row.device, mode, row.threads),
        machine=row.machine.hex(), fingerprint=json.loads(row.description), status=row.status, reason=row.reason,
        samples=_array(row.samples), events=_array(row.events), cpu=_array(row.cpu), record=json.loads(row.record),
        session=row.session, written=row.written, method=row.method, request=row.request,
    )  # fmt: skip


def _blob(values: np.ndarray) -> bytes | None:
    return np.asarray(values, _LITTLE).tobytes() if len(values) else None


def _array(blob: bytes | None) -> np.ndarray:
    return np.frombuffer(blob or b"", _LITTLE).astype(np.float64)
