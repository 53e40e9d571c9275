"""An ablation's numbers as tables: means with intervals, differences on the same photographs and seeds.

Arms that were not trained keep their rows. Whatever a text about the ablation says stands in one of these tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench.catalog import published
from bench.report.ablation import numbers
from bench.report.ablation.arm_times import Timed
from bench.report.ablation.ascent import MOVED
from bench.report.ablation.evaluation_section import Plan
from bench.report.ablation.measure import BINS, PRIOR, SWEPT, Column, Row
from bench.report.ablation.numbers import Difference, Mean
from bench.results import csv_text
from bench.tables.latex import tex, tex_value
from iqpir.training.ablation import Arm
from iqpir.training.pursuit import SPACES

MAIN = "main"
CODES = (
    "common accuracy", "hq accuracy", "common perplexity", "common GT perplexity", "hq perplexity", "hq GT perplexity",
)  # fmt: skip
PAPER = "iqpir/table5"
CLEAR = "*"


class Table(NamedTuple):
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Results:
    """Everything that was measured."""

    plan: Plan
    columns: Mapping[str, Column]
    lacking: Mapping[str, str]
    rows: Sequence[Row]
    times: Sequence[Timed] = ()
    pending: Mapping[str, str] = field(default_factory=dict)
    """Arms without any trained network, and why."""

    @property
    def groups(self) -> list[str]:
        return list(dict.fromkeys(arm.group for arm in self.plan.ablation.arms))

    def arms(self, group: str) -> list[Arm]:
        return [arm for arm in self.plan.ablation.arms if arm.group == group]

    def optimised(self, arm: Arm) -> bool:
        """Whether the arm was trained to please the prior."""
        restorer = self.plan.ablation.sections["restorer"]
        return bool(arm.restorer.get("quality", restorer.get("quality", 0)))

    def mean(self, arm: str, kind: str, metric: str, score: float | None = None) -> Mean | None:
        found = numbers.values(self.rows, arm, kind, metric, score)
        return numbers.mean(found) if found else None

    def difference(self, arm: str, base: str, kind: str, metric: str) -> Difference | None:
        ours, theirs = (numbers.values(self.rows, name, kind, metric) for name in (arm, base))
        return numbers.difference(theirs, ours) if ours and theirs and arm != base else None

    def seeds(self, arm: Arm) -> str:
        done = sum(each.done for each in self.plan.networks if each.arm.name == arm.name)
        return f"{done}/{len(arm.seeds)}"


def every(found: Results) -> list[Table]:
    """All tables, in the order in which they are read."""
    tables = [main(found), differences(found), steps(found), codes(found)]
    if found.times:
        tables.append(latency(found))
    tables += [side(found, group) for group in found.groups if group != MAIN]
    if any(row.kind == "sweep" for row in found.rows):
        tables.append(sweep(found))
    if any(row.kind in SPACES for row in found.rows):
        tables.append(ascent(found))
    return tables


def heading(column: Column) -> str:
    return f"{column.heading} {'↑' if column.higher_better else '↓'}"


def main(found: Results) -> Table:
    """Means of the main arms."""
    columns = list(found.columns.values())
    rows = [["", "input", "", *(_mean(found.mean("input", "input", c.name), c) for c in columns)]]
    for arm in found.arms(MAIN):
        cells = [_dagger(found, arm, c, _mean(found.mean(arm.name, "restored", c.name), c)) for c in columns]
        rows.append([f"({arm.name})", arm.title, found.seeds(arm), *_pending(found, arm, cells)])
    notes = [
        "Mean over photographs and seeds, and its 95 % interval (both drawn anew). `input`: the degraded windows.",
        "† The arm was trained to please this metric: its value is no independent evidence.",
        *(f"Not computed: {name}: {why}." for name, why in found.lacking.items()),
        *(f"{column.heading}: {column.signature}" for column in columns),
    ]
    return Table("Main arms", ["", "Arm", "Seeds", *map(heading, columns)], rows, notes)


def differences(found: Results) -> Table:
    """The main arms less the first."""
    columns, arms = list(found.columns.values()), found.arms(MAIN)
    rows = []
    for arm in arms[1:]:
        cells = [_dagger(found, arm, c, _difference(found, arm.name, arm.against, "restored", c)) for c in columns]
        rows.append([f"({arm.name}) − ({arm.against})", found.seeds(arm), *_pending(found, arm, cells)])
    return Table(
        "Differences to the baseline, on the same photographs and seeds", ["", "Seeds", *map(heading, columns)], rows,
        [f"{CLEAR} The 95 % interval leaves out zero."],
    )  # fmt: skip


def steps(found: Results) -> Table:
    """Each main arm less the one before it, beside the change that the paper prints for the same step."""
    columns, arms = list(found.columns.values()), found.arms(MAIN)
    printed = _printed()
    rows = []
    for before, arm in itertools.pairwise(arms):
        told = ", ".join(
            f"{metric} {printed[f'({arm.name})', metric] - printed[f'({before.name})', metric]:+.3g}"
            for (name, metric) in printed
            if name == f"({arm.name})" and (f"({before.name})", metric) in printed
        )
        cells = [_dagger(found, arm, c, _difference(found, arm.name, before.name, "restored", c)) for c in columns]
        rows.append([f"({arm.name}) − ({before.name})", arm.title, *_pending(found, arm, cells), told or "–"])
    return Table(
        "Step by step", ["", "What is added", *map(heading, columns), "The paper's change (WebPhoto-Test)"], rows,
        [f"{CLEAR} The 95 % interval leaves out zero. The paper prints no full-reference metric for its ablation."],
    )  # fmt: skip


def _printed() -> dict[tuple[str, str], float]:
    """The paper's numbers by arm and metric; none where they did not come with the package."""
    if not published.folder().is_dir() or PAPER not in published.names():
        return {}
    return {(value.method, value.metric): value.number for value in published.load(PAPER).values}


def codes(found: Results) -> Table:
    """How well codes are predicted, how many are used, and the best that stage 2 could do."""
    rows = []
    names = [name for name in ("psnr", "ssim", PRIOR) if name in found.columns]
    for arm in found.plan.ablation.arms:
        if arm.group != MAIN and arm.name in found.pending:
            continue  # its own group's table says so
        shares = [_number(found.mean(arm.name, "codes", metric), 3 if "accuracy" in metric else 1) for metric in CODES]
        bound = [_number(found.mean(arm.name, "bound", name), found.columns[name].digits) for name in names]
        rows.append([f"({arm.name})", found.seeds(arm), *_pending(found, arm, [*shares, *bound])])
    header = [
        "", "Seeds", "Accuracy, common", "HQ+", "Perplexity predicted, common", "true, common", "predicted, HQ+",
        "true, HQ+", *(f"{found.columns[name].heading} of true codes" for name in names),
    ]  # fmt: skip
    return Table(
        "Codes", header, rows,
        ["Accuracy: share of codes predicted as stage 1 has them for the GT. Perplexity over all windows: how many "
         "equally frequent codes they are worth. Of true codes: the image that the generator makes of the GT's codes, "
         "both books: what stage 2 could reach."],
    )  # fmt: skip


def latency(found: Results) -> Table:
    rows = []
    for one in found.times:
        share = "1" if one.against is None else f"{one.against.value:.3f}"
        if one.against is not None and one.against.low is not None:
            share += f" [{one.against.low:.3f}, {one.against.high:.3f}]"
        printed = _printed().get((f"({one.arm})", "inference-ms"))
        told = f"{one.summary.median / 1e6:.2f}", f"{one.summary.low / 1e6:.2f} to {one.summary.high / 1e6:.2f}"
        rows.append([f"({one.arm})", *told, share, f"{one.summary.n}", "–" if printed is None else f"{printed:g}"])
    return Table(
        "Latency", ["", "Median, ms", "Quartiles, ms", "Ratio to the first", "n", "Paper, ms"], rows,
        ["One image of the network's size, batch 1, float32, eager, one CPU thread, arms by turns."],
    )  # fmt: skip


def side(found: Results, group: str) -> Table:
    """A group of arms beside the one that they differ from."""
    names = [name for name in (PRIOR, "brisque", "piqe", "psnr", "ssim") if name in found.columns]
    columns = [found.columns[name] for name in names]
    arms = found.arms(group)
    rows = []
    for base in dict.fromkeys(arm.against for arm in arms):
        title = found.plan.ablation.arm(base).title
        cells = [_mean(found.mean(base, "restored", c.name), c) for c in columns]
        bound = _number(found.mean(base, "bound", "psnr"), 2)
        rows.append([f"({base})", title, found.seeds(found.plan.ablation.arm(base)), *cells, bound])
        for arm in (arm for arm in arms if arm.against == base):
            cells = [_dagger(found, arm, c, _difference(found, arm.name, base, "restored", c)) for c in columns]
            found_bound = found.difference(arm.name, base, "bound", "psnr")
            cells.append("–" if found_bound is None else _signed(found_bound, 2))
            rows.append([f"{arm.name} − ({base})", arm.title, found.seeds(arm), *_pending(found, arm, cells)])
    return Table(
        group, ["", "Arm", "Seeds", *map(heading, columns), "PSNR of true codes ↑"], rows,
        [f"The first row holds means, the others differences to it, on the seeds that both have. {CLEAR} The 95 % "
         "interval leaves out zero; with one seed it says nothing of another training."],
    )  # fmt: skip


def sweep(found: Results) -> Table:
    """Means at every score."""
    rows = []
    for name in found.plan.evaluation.sweep:
        for metric in (PRIOR, *SWEPT):
            if metric in found.columns:
                column = found.columns[metric]
                means = [found.mean(name, "sweep", metric, (number + 0.5) / BINS) for number in range(BINS)]
                if any(means):
                    rows.append([f"({name})", heading(column), *(_number(one, column.digits) for one in means)])
    return Table(
        "Score asked for", ["", "", *map(str, range(BINS))], rows,
        ["Means over photographs and seeds, one window of each photograph."],
    )  # fmt: skip


def ascent(found: Results) -> Table:
    """What climbing the prior does, by steps."""
    name, rows = found.plan.evaluation.pursue, []
    for space in SPACES:
        for metric in (PRIOR, *SWEPT, MOVED):
            if metric in found.columns or metric == MOVED:
                label = heading(found.columns[metric]) if metric in found.columns else "moved"
                digits = found.columns[metric].digits if metric in found.columns else 3
                means = [found.mean(name, space, metric, float(step)) for step in found.plan.evaluation.pursue_steps]
                rows.append([space, label, *(_number(one, digits) for one in means)])
    return Table(
        f"Climbing the prior from the prediction of ({name})",
        ["Space", "", *(f"{step} steps" for step in found.plan.evaluation.pursue_steps)], rows,
        ["Means over photographs and seeds, one window of each photograph. Moved: distance of the latent relative to "
         "its norm, or the share of positions with another code."],
    )  # fmt: skip


# Cells


def _mean(found: Mean | None, column: Column) -> str:
    if found is None:
        return "–"
    text = f"{found.value:z.{column.digits}f}"
    if found.interval is not None:
        text += f" [{found.interval.low:z.{column.digits}f}, {found.interval.high:z.{column.digits}f}]"
    return text


def _number(found: Mean | None, digits: int) -> str:
    return "–" if found is None else f"{found.value:z.{digits}f}"


def _difference(found: Results, arm: str, base: str, kind: str, column: Column) -> str:
    made = found.difference(arm, base, kind, column.name)
    return "–" if made is None else _signed(made, column.digits)


def _signed(made: Difference, digits: int) -> str:
    text = f"{made.value:+z.{digits}f}"
    if made.interval is not None:
        text += f" [{made.interval.low:+z.{digits}f}, {made.interval.high:+z.{digits}f}]"
    return text + CLEAR * made.clear


def _dagger(found: Results, arm: Arm, column: Column, text: str) -> str:
    return text + "†" if column.name == PRIOR and found.optimised(arm) and text != "–" else text


def _pending(found: Results, arm: Arm, cells: list[str]) -> list[str]:
    """The cells, or why there are none."""
    why = found.pending.get(arm.name)
    return cells if why is None else [f"not run: {why}", *("" for _ in cells[1:])]


# Files


def markdown(tables: Sequence[Table]) -> str:
    from tabulate import tabulate

    parts = []
    for table in tables:
        body = [[cell.replace("|", "\\|") for cell in row] for row in table.rows]
        text = tabulate(body, list(table.header), tablefmt="pipe", disable_numparse=True)
        notes = "\n".join(f"- {line}" for line in table.notes)
        parts.append(f"## {table.title}\n\n{text}\n\n{notes}\n")
    return "\n".join(parts)


def latex(tables: Sequence[Table]) -> str:
    parts = []
    for table in tables:
        body = [" & ".join(tex_value(cell) for cell in row) + r" \\" for row in table.rows]
        notes = " ".join(tex(line) for line in table.notes)
        parts += [
            r"\begin{table*}[t]", r"\centering", rf"\caption{{{tex(table.title)}. {notes}}}",
            r"\resizebox{\linewidth}{!}{%", rf"\begin{{tabular}}{{{'l' * len(table.header)}}}", r"\toprule",
            " & ".join(tex(name) for name in table.header) + r" \\", r"\midrule", *body, r"\bottomrule",
            r"\end{tabular}}", r"\end{table*}", "",
        ]  # fmt: skip
    return "% needs booktabs and graphicx\n" + "\n".join(parts)


CSV_COLUMNS = (
    "group", "arm", "title", "kind", "metric", "signature", "better", "value", "low", "high", "seeds", "photographs",
    "against", "difference", "difference_low", "difference_high", "status",
)  # fmt: skip


def long_form(found: Results) -> str:
    """One row per arm, kind and metric, as CSV."""
    rows: list[list[object]] = []
    for arm in found.plan.ablation.arms:
        if arm.name in found.pending:
            rows.append([arm.group, arm.name, arm.title, *[""] * 13, f"not run: {found.pending[arm.name]}"])
            continue
        for kind in ("restored", "bound", "codes"):
            for metric in CODES if kind == "codes" else found.columns:
                mean = found.mean(arm.name, kind, metric)
                if mean is None:
                    continue
                column = found.columns.get(metric)
                made = found.difference(arm.name, arm.against, kind, metric)
                rows.append([
                    arm.group, arm.name, arm.title, kind, metric, column.signature if column else "",
                    "" if column is None else "higher" if column.higher_better else "lower", f"{mean.value:.6g}",
                    *_ends(mean.interval), mean.seeds, mean.photographs,
                    *(["", "", "", ""] if made is None
                      else [arm.against, f"{made.value:.6g}", *_ends(made.interval)]), "ok",
                ])  # fmt: skip
    return csv_text.of_rows(CSV_COLUMNS, rows)


def _ends(interval: tuple[float, float] | None) -> list[str]:
    return ["", ""] if interval is None else [f"{end:.6g}" for end in interval]


def write(found: Results, folder: Path) -> list[Path]:
    """table.csv, table.md, table.tex and values.csv."""
    from bench.report.ablation.measure import write_rows

    folder.mkdir(parents=True, exist_ok=True)
    made = every(found)
    texts = {"table.csv": long_form(found), "table.md": markdown(made), "table.tex": latex(made)}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    write_rows(folder / "values.csv", found.rows)
    return [folder / name for name in (*texts, "values.csv")]
