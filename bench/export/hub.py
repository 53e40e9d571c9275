"""The hub's two forms: a model card with `model-index` per method, and `.eval_results/` for datasets that are on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import files
from bench.catalog.registry import PERMISSIVE
from bench.export import facts
from bench.export.facts import Measured
from bench.results.view import RunView

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TASK = "image-to-image"


def write(data: RunView, created: float, target: Path) -> list[Path]:
    """`METHOD/README.md`, and `METHOD/.eval_results/SUITE.yaml` where a dataset has an address on the hub."""
    import yaml
    from huggingface_hub import ModelCard, ModelCardData, eval_result_entries_to_yaml

    written = []
    folders = facts.told_apart(method.label for method in data.record.methods)
    for method in data.record.methods:
        each = [one for one in facts.measured(data) if one.cell.method == method.label]
        if not each:
            continue
        folder = target / folders[method.label]
        card = ModelCardData(
            model_name=method.label,
            license=method.licence.lower() if method.licence in PERMISSIVE else "other",
            pipeline_tag=TASK,
            tags=["image-restoration"],
            metrics=sorted({facts.metric_name(data, one.cell.column.label) for one in each}),
            eval_results=[_result(data, one) for one in each if one.whole] or None,
        )
        text = f"---\n{card.to_yaml()}\n---\n\n# {method.label}\n\n{_body(data, each)}"
        files.put(folder / "README.md", str(ModelCard(text)).encode())
        written.append(folder / "README.md")
        entries = list(_entries(data, each, created))
        if entries:
            place = folder / ".eval_results" / f"{facts.plain(data.record.suite)}.yaml"
            made = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
            files.put(place, made.encode())
            written.append(place)
    return written


def _result(data: RunView, one: Measured) -> EvalResult:
    from huggingface_hub import EvalResult

    cell = one.cell
    dataset = next(each for each in data.record.datasets if each.label == cell.dataset)
    return EvalResult(
        task_type=TASK,
        dataset_type=_address(data, cell.dataset) or facts.plain(dataset.name),
        dataset_name=cell.dataset,
        metric_type=facts.metric_name(data, cell.column.label),
        metric_name=cell.column.heading,
        metric_value=one.value,
        metric_config=cell.column.signature,
    )


def _address(data: RunView, dataset: str) -> str | None:
    """`owner/name` of a dataset on the hub."""
    record = next(each for each in data.record.datasets if each.label == dataset)
    given = facts.options_of(data, dataset).get("path") if record.name == "hub" else None
    return str(given) if given and str(given).count("/") == 1 and not Path(str(given)).exists() else None


def _entries(data: RunView, each: list[Measured], created: float) -> Iterator[Any]:
    from huggingface_hub import EvalResultEntry

    for one in each:
        address = _address(data, one.cell.dataset)
        if address is not None and one.whole:
            yield EvalResultEntry(
                dataset_id=address, task_id=one.cell.column.label, value=one.value, date=facts.when(created),
                notes=f"{one.cell.column.signature}; {one.cell.n}/{one.cell.expected} items",
            )  # fmt: skip


def _body(data: RunView, each: list[Measured]) -> str:
    lines = ["| Dataset | Metric | Value | Items |", "|:--|:--|--:|--:|"]
    for one in each:
        value = f"{one.value:.{one.cell.column.digits}f}"
        lines.append(f"| {one.cell.dataset} | {one.cell.column.heading} | {value} | {one.cell.n}/{one.cell.expected} |")
    signatures = dict.fromkeys(one.cell.column.signature for one in each)
    return "\n".join([*lines, "", "What the numbers are:", "", *(f"- `{each}`" for each in signatures)]) + "\n"
