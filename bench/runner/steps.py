"""A suite as the steps that it takes, one after the other, each of which resumes by itself.

Most suites are one run. One with `finetune:` restores the train part first, trains a detector on what each method made
of it, and then is a run like any other, in which each method is looked at by its own detector.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.errors import BenchError, MissingFile
from bench.planning import finetuning
from bench.progress import Progress
from bench.results.leases import Lease
from bench.results.store import Store
from bench.runner.driver import Ended, Summary, carry_out
from bench.runner.request import Request, rehearse_request, resolve_request
from bench.suite import definition


def run(request: Request, progress: Progress | None = None, note: Any = lambda line: None) -> Summary:
    """Do what the request asks and the store does not hold yet. `note` is told lines worth reading."""
    return take(request, progress, note).summary


def take(request: Request, progress: Progress | None = None, note: Any = lambda line: None, news: Any = None) -> Ended:
    """All steps of a request; returns its own run, with the values. `news`: see `carry_out`."""
    rehearse_request(request)
    if finetuning.asked(definition.load(definition.find(request.suite))) is None:
        return carry_out(request, progress, note, news)
    if request.shard is not None:
        raise BenchError(
            f"{request.suite}: a suite with finetune: trains on all outputs of the train part, so that it has no shards"
        )
    resolved = resolve_request(request)  # what is wrong with the run itself is said before anything is trained
    # One lease for all of them, so that what a step needs is not collected before it begins.
    with Store(request.folder) as store, Lease(store, "run", note):
        train = replace(request, part=finetuning.TRAIN, keep="all")
        restored = carry_out(train, progress, note, news)
        try:
            trained = finetuning.prepare(resolve_request(train), restored.data, store, request.device, note)
        except MissingFile as error:
            # Where no boxes are there to test on either, the rest of the suite needs no detector.
            if not request.available or any(dataset.annotations is not None for dataset in resolved.datasets):
                raise
            note(f"no detector is trained: {error}")
            trained = []
        return carry_out(replace(request, trained=tuple(trained)), progress, note, news)
