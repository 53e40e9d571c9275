"""Whatever stands in a suite file: an answer within seconds, one line per complaint, exit code 2, never a traceback."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import cli
from bench.errors import BenchError
from bench.suite import definition, yaml_text

BASE = "schema: 1\ndatasets: [builtin-lowlight]\nmethods: [identity]\nmetrics: [psnr]\n"


def bomb(levels: int, width: int, form: str = "list") -> str:
    """Aliases of aliases, `width` at each of `levels`."""
    out = ["l0: &l0 [x]" if form == "list" else "l0: &l0 {k: v}"]
    for level in range(1, levels):
        names = [f"*l{level - 1}"] * width
        if form == "list":
            out.append(f"l{level}: &l{level} [{', '.join(names)}]")
        elif form == "map":
            inside = ", ".join(f"k{n}: {name}" for n, name in enumerate(names))
            out.append(f"l{level}: &l{level} {{{inside}}}")
        else:
            out.append(f"l{level}: &l{level} {{<<: [{', '.join(names)}]}}")
    return "\n".join(out) + "\n"


def sweep(*sizes: int) -> str:
    swept = ", ".join(f"o{n}: [{', '.join(map(str, range(size)))}]" for n, size in enumerate(sizes))
    return BASE.replace("[identity]", f"[{{method: gamma, sweep: {{{swept}}}}}]")


def option(text: str) -> str:
    return BASE.replace("[identity]", f"[{{method: gamma, options: {{gamma: {text}}}}}]")


MALFORMED: dict[str, tuple[str, str]] = {
    # Aliases
    "list in itself": (BASE + "title: &a [*a]\n", ":5: an alias stands for what it is itself a part of"),
    "mapping in itself": (BASE + "bases: &a {x: *a}\n", "an alias stands for what it is itself a part of"),
    "merge of itself": (BASE + "bases: &a {<<: *a}\n", "an alias stands for what it is itself a part of"),
    "two in each other": (BASE + "bases: &a {x: &b {y: *a, z: *b}}\n", "an alias stands for"),
    "root in itself": ("&a\nschema: 1\nmethods: *a\n", "an alias stands for"),
    "bomb of lists": (bomb(9, 9), "more than 20000 values"),
    "bomb of mappings": (bomb(9, 9, "map"), "more than 20000 values"),
    "bomb of merges": (bomb(9, 9, "merge"), "more than 20000 values"),
    "bomb of two": (bomb(30, 2), "more than 20000 values"),
    "long chain of aliases": (bomb(60, 1), "aliases nest it deeper than 32 levels"),
    "alias of nothing": (BASE + "title: *nowhere\n", ":5: found undefined alias"),
    # Depth and size
    "deep lists": ("a: " + "[" * 5000 + "]" * 5000, ":1: nested deeper than 32 levels"),
    "deep unclosed lists": ("a: " + "[" * 100_000, "nested deeper than 32 levels"),
    "deep mappings": ("a: " + "{a: " * 5000 + "}" * 5000, "nested deeper than 32 levels"),
    "deep by indentation": ("".join(" " * n + "a:\n" for n in range(400)), "nested deeper than 32 levels"),
    "deep by dashes": ("a:\n" + "- " * 5000 + "x\n", "nested deeper than 32 levels"),
    "20000 values": ("datasets: [" + "a," * 20_001 + "]", "more than 20000 values"),
    "5000 wrong lines": (BASE.replace("[identity]", "[" + "1," * 5000 + "]"), "… and 4980 more complaints"),
    # Sweeps and repeats
    "sweep of 5000 cubed": (sweep(5000, 5000, 5000), ":3: sweeps make 125000000000 methods by here, more than 10000"),
    "sweep of 10001": (sweep(10_001), "10001 methods"),
    "sweeps that add up": (
        BASE.replace("[identity]", "[" + ",".join(
            f"{{method: gamma, label: 'a{n} {{gamma}}', sweep: {{gamma: [{', '.join(map(str, range(1, 4002)))}]}}}}"
            for n in range(3)) + "]"), "12003 methods",
    ),
    "sweep of nothing": (BASE.replace("[identity]", "[{method: gamma, sweep: {gamma: []}}]"), "one entry or more, got"),
    "sweep of a number": (BASE.replace("[identity]", "[{method: gamma, sweep: {gamma: 2}}]"), "a list is needed, "),
    "10 to the 12 repeats": (BASE + "seeds: 1000000000000\n", "must be 10000 or less"),
    "repeats of a method": (BASE.replace("[identity]", "[{method: gamma, seeds: 20000}]"), "must be 10000 or less"),
    "no repeat": (BASE + "seeds: 0\n", "must be 1 or more"),
    # Scalars
    "a date that is none": (option("2020-99-99"), "a number, not '2020-99-99'"),
    "a date": (option("2020-02-03"), "not '2020-02-03'"),
    "a timestamp": (option("2001-12-14t21:59:43.10-05:00"), "not '2001-12-14t21"),
    "a tagged timestamp": (BASE + "title: !!timestamp abc\n", "no constructor for !!timestamp"),
    "a tagged date": (BASE + "title: !!timestamp 2020-99-99\n", "no constructor for !!timestamp"),
    "sexagesimal": (option("190:20:30"), "not '190:20:30'"),
    "sexagesimal with a point": (option("190:20:30.15"), "not '190:20:30.15'"),
    "infinite": (option(".inf"), ":3: .inf is not finite"),
    "minus infinite": (option("-.INF"), ":3: -.INF is not finite"),
    "not a number": (option(".nan"), ":3: .nan is not finite"),
    "a power without end": (option("1.0e+999"), "is not finite"),
    "an infinite key": (BASE + "bases: {.inf: a}\n", "is not finite"),
    "an infinite seed": (BASE + "seed: .inf\n", ":5: .inf is not finite"),
    "infinite seconds": (BASE + "latency: {seconds: .inf}\n", "is not finite"),
    "a huge number": (BASE + "seed: " + "9" * 5000 + "\n", ":5: a whole number of 5000 digits, beyond the 64 bits"),
    "65 bits": (BASE + f"seed: {2**63}\n", "beyond the 64 bits"),
    "65 bits below": (BASE + f"seed: -{2**63 + 1}\n", "beyond the 64 bits"),
    "a huge hexadecimal": (BASE + "seed: 0x" + "f" * 400 + "\n", "beyond the 64 bits"),
    "a number that is none": (BASE + "seed: !!int abc\n", "'abc' is no whole number"),
    "a float that is none": (BASE + "seed: !!float abc\n", "'abc' is no number"),
    "a truth that is none": (BASE + "gain: !!bool maybe\n", "neither true nor false"),
    "a number of a list": (BASE + "seed: !!int [1]\n", "!!int is of a single word"),
    "binary": (BASE + "title: !!binary aGVsbG8=\n", "no constructor for !!binary"),
    "binary that is none": (BASE + "title: !!binary '***'\n", "no constructor for !!binary"),
    "a set": (BASE + "title: !!set {a, b}\n", "no constructor for !!set"),
    "an ordered mapping": (BASE + "title: !!omap [a: 1]\n", "no constructor for !!omap"),
    "pairs": (BASE + "title: !!pairs [a: 1]\n", "no constructor for !!pairs"),
    "a tag of one's own": (BASE + "title: !mine x\n", "no constructor for !mine"),
    "an object": (BASE + "title: !!python/object/apply:os.system [id]\n", "no constructor for !!python/object/apply"),
    "a name of Python": (BASE + "title: !!python/name:os.system\n", "no constructor for !!python/name"),
    "a null byte": (BASE + "title: a\0b\n", ":5: a character that no text has: 0x0"),
    "an escaped null byte": (BASE + 'title: "a\\0b"\n', ":5: a null byte"),
    "a null byte in a path": (
        BASE.replace("[builtin-lowlight]", '[{dataset: folder, options: {lq: "a\\0b"}}]'), ":2: a null byte"
    ),
    "a null byte in a key": (BASE + '"a\\0b": 1\n', ":5: a null byte"),
    "half a character": (BASE + 'title: "\\ud800"\n', ":5: half of a surrogate pair"),
    "a control character": (BASE + "title: a\x07b\n", ":5: a character that no text has: 0x7"),
    # Keys and shapes
    "a list as key": (BASE + "? [a, b]\n: 1\n", "a key is a word"),
    "a mapping as key": (BASE + "{a: b}: 1\n", "a key is a word"),
    "numbers as keys": (BASE + "1: 2\n", ":5: "),
    "nothing as key": (BASE + "~: 2\n", ""),
    "an option of a number": (BASE.replace("[identity]", "[{method: gamma, options: {1: 2}}]"), ":3: "),
    "a key twice": (BASE + "title: a\ntitle: b\n", ":6: key 'title' is written twice"),
    "two documents": (BASE + "---\n" + BASE, "expected a single document"),
    "nothing": ("", "a suite is a mapping"),
    "a list": ("[1, 2]", "a suite is a mapping"),
    "a word": ("hello", "a suite is a mapping"),
    "unclosed": (BASE + "title: [a\n", ""),
    "a tab": (BASE + "bases:\n\t- a\n", ":6: "),
    "another version of YAML": ("%YAML 9.9\n---\n" + BASE, "incompatible"),
    "lists for words": (BASE + "title: [a]\nprotocol: {a: b}\ntask: [1]\n", ":5: title"),
    "a word for a list": (BASE.replace("[identity]", "identity"), ":3: methods"),
    "truth for the schema": (BASE.replace("schema: 1", "schema: true"), "schema: a number is needed, got true"),
    "truth for a seed": (BASE + "seed: false\n", "s.yaml:5: seed: a number is needed, got false"),
    "truth for repeats": (BASE + "seeds: yes\n", "s.yaml:5: seeds: a number is needed, got true"),
    "truth for samples": (BASE + "latency: {samples: true}\n", "latency.samples: a number is needed, got true"),
    "a detector that is none": (BASE + "detection: {detector: yolo11m7}\n", "s.yaml:5: unknown detector 'yolo11m7'"),
    "a detector's option": (BASE + "detection: {detector: yolo11n, options: {conf: 9}}\n", "is not between 0 and 1"),
    "nothing for lists": ("schema: 1\ndatasets:\nmethods:\nmetrics:\n", "datasets"),
    "a metric of two": (BASE.replace("[psnr]", "[{psnr: {}, ssim: {}}]"), ":4: metrics"),
    "a metric of nothing": (BASE.replace("[psnr]", "[{}]"), ":4: metrics"),
    "a label of a list": (BASE.replace("[psnr]", "[{psnr: {label: [a]}}]"), ":4: metrics.0.label"),
    # Includes
    "an include of a number": (BASE + "include: 5\n", ":5: include takes a file's name or a list of them, not 5"),
    "an include of nothing": (BASE + "include:\n", ":5: include takes a file's name or a list of them, not None"),
    "an include of a mapping": (BASE + "include: {a: b}\n", ":5: include takes"),
    "an include of numbers": (BASE + "include: [1]\n", ":5: include takes"),
    "an include that is not there": (BASE + "include: none.yaml\n", "none.yaml does not exist"),
    "an include of a long name": (BASE + f"include: {'a' * 300}.yaml\n", ":5: included file"),
    "an include of itself": (BASE + "include: s.yaml\n", "include loop"),
    "an include of a folder": (BASE + "include: folder.yaml\n", "folder.yaml does not exist"),
}  # fmt: skip


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail instead of hanging."""

    def late(*_: object) -> None:
        raise AssertionError(f"no answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    (tmp_path / "folder.yaml").mkdir()
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, seconds: int = 30) -> str:
    """What a command says that refuses; an exception that is not its own would come out here."""
    with within(seconds), pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    shown = capsys.readouterr()
    assert stop.value.code == 2 and shown.out == ""
    lines = shown.err.splitlines()
    assert lines and lines[0].startswith("error: ") and len(lines) <= 21
    assert all(len(line) < 500 for line in lines)
    return shown.err


@pytest.mark.parametrize("text, said", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_suite_is_refused_with_its_place(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
):
    (folder / "s.yaml").write_text(text, encoding="utf-8")
    assert said in refused(capsys, "validate", "s.yaml")


@pytest.mark.parametrize("name", ["list in itself", "sweep of 5000 cubed", "a null byte in a path", "deep lists"])
@pytest.mark.parametrize("command", ["run", "fetch", "latency"])
def test_every_command_that_reads_a_suite_refuses_it(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
):
    (folder / "s.yaml").write_text(MALFORMED[name][0], encoding="utf-8")
    assert MALFORMED[name][1] in refused(capsys, command, "s.yaml")


def test_bytes_that_are_no_utf_8_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "s.yaml").write_bytes(BASE.encode("utf-16"))
    assert "cannot be read" in refused(capsys, "validate", "s.yaml")
    (folder / "s.yaml").write_bytes(os.urandom(4096))
    refused(capsys, "validate", "s.yaml")


def test_a_file_that_is_too_large_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "s.yaml").write_text("#" * ((1 << 20) + 1))
    assert "larger than 1048576 bytes" in refused(capsys, "validate", "s.yaml")


# Includes of files by files


def test_three_includes_at_each_of_25_levels_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    for level in range(25):
        below = ", ".join([f"f{level + 1}.yaml"] * 3)
        (folder / f"f{level}.yaml").write_text(f"include: [{below}]\n")
    (folder / "f25.yaml").write_text(BASE)
    assert "more than 16 deep" in refused(capsys, "validate", "f0.yaml")


def test_three_includes_at_each_of_ten_levels_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    for level in range(10):
        below = ", ".join([f"f{level + 1}.yaml"] * 3)
        (folder / f"f{level}.yaml").write_text(f"include: [{below}]\n")
    (folder / "f10.yaml").write_text(BASE)
    assert "more than 64 files" in refused(capsys, "validate", "f0.yaml")


def test_a_thousand_includes_in_a_row_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    for number in range(1000):
        (folder / f"f{number}.yaml").write_text(f"include: f{number + 1}.yaml\n")
    (folder / "f1000.yaml").write_text(BASE)
    assert "f15.yaml:1: files include each other more than 16 deep" in refused(capsys, "validate", "f0.yaml")


def test_a_thousand_includes_beside_each_other_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "base.yaml").write_text(BASE)
    (folder / "s.yaml").write_text("include: [" + "base.yaml, " * 1000 + "]\n")
    assert "more than 64 files" in refused(capsys, "validate", "s.yaml")


def test_includes_as_deep_and_as_many_as_is_allowed_work(folder: Path):
    for number in range(yaml_text.MOST_INCLUDES - 1):
        (folder / f"f{number}.yaml").write_text(f"include: f{number + 1}.yaml\n")
    (folder / f"f{yaml_text.MOST_INCLUDES - 1}.yaml").write_text(BASE)
    assert definition.load(folder / "f0.yaml").suite.methods[0].method == "identity"
    (folder / "s.yaml").write_text("include: [" + "f15.yaml, " * (yaml_text.MOST_FILES - 1) + "]\n")
    assert definition.load(folder / "s.yaml").suite.methods[0].method == "identity"


# What stays as it was


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2020-99-99", "2020-99-99"), ("2024-06-01", "2024-06-01"), ("12:30", "12:30"), ("0.5", 0.5), ("1e-3", "1e-3"),
        ("1.0e-3", 1e-3), ("5", 5), ("0x1F", 31), ("1_000", 1000), (str(2**63 - 1), 2**63 - 1), ("yes", True),
        ("no", False), ("~", None), ("'5'", "5"), ("é 漢", "é 漢"), ("[1, [{a: b}]]", [1, [{"a": "b"}]]), ("=", "="),
    ],
)  # fmt: skip
def test_plain_data_is_read_as_it_stands(text: str, value: object):
    spec = definition.parse(option(text)).suite.methods[0]
    assert spec.options["gamma"] == value and type(spec.options["gamma"]) is type(value)


def test_aliases_and_merges_that_end_are_data():
    text = BASE.replace("[identity]", "[&a {method: gamma, label: A}, {<<: *a, label: B}, identity]")
    assert [one.label for one in definition.parse(text).suite.methods] == ["A", "B", None]


def test_a_sweep_as_large_as_is_allowed_is_read_at_once():
    start = time.monotonic()
    file = definition.parse(sweep(100, 100))
    assert len(list(definition.variants(file.suite.methods[0], "here"))) == 10_000
    assert time.monotonic() - start < 20


KEYS = {
    "title": "{}", "task": "{}", "protocol": "{}", "seed": "{}", "seeds": "{}", "published": "{}", "bases": "{}",
    "gain": "{}", "increments": "{}", "latency": "{}", "detection": "{}", "datasets": "{}", "methods": "{}",
    "metrics": "{}", "latency: size": "{{size: {}}}", "latency: dtype": "{{dtype: {}}}",
    "latency: order": "{{order: {}}}", "latency: samples": "{{samples: {}}}", "latency: seconds": "{{seconds: {}}}",
    "detection: finetune": "{{detector: x, finetune: {}}}",
    "detection: epochs": "{{detector: x, finetune: {{epochs: {}}}}}",
    "methods: sweep": "[{{method: gamma, sweep: {}}}]", "methods: swept": "[{{method: gamma, sweep: {{gamma: {}}}}}]",
    "methods: label": "[{{method: gamma, label: {}}}]", "methods: seeds": "[{{method: gamma, seeds: {}}}]",
    "methods: datasets": "[{{method: gamma, datasets: {}}}]", "datasets: options": "[{{dataset: x, options: {}}}]",
    "datasets: protocol": "[{{dataset: x, protocol: {}}}]",
}  # fmt: skip
ODD = ("", "-1", "1.5", "word", "true", "[]", "{}", "[[]]", "[5]", "{a: b}", "[{a: {b: c}}]", "2020-99-99", "{1: 2}")
THEIRS = re.compile(
    r"Input should|pydantic|Value error|Assertion|valid (string|integer|number|list|dict|boolean)|Field required"
    r"|Extra inputs|unable to|instance of|after validation|function-|<class|\[key\]|\.(bool|int|str|dict)\b"
)
"""How pydantic speaks to programmers."""


@pytest.mark.parametrize("key", KEYS)
def test_values_of_another_kind_are_refused_in_words_for_readers(key: str):
    name, refused = key.partition(":")[0], 0
    kept = "".join(line for line in BASE.splitlines(keepends=True) if not line.startswith(f"{name}:"))
    for value in ODD:
        text = f"{kept}{name}: {KEYS[key].format(value)}\n"
        try:
            definition.parse(text, "s")
        except BenchError as error:
            refused += 1
            assert not THEIRS.search(str(error)), (text, str(error))
            assert all(re.match(r"s:\d+: ", line) for line in str(error).splitlines()), (text, str(error))
    assert refused >= 4
