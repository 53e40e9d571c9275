"""How many threads `iqpir restore` takes: what a clock says is fastest, and never against what was asked for."""

from __future__ import annotations

import pytest
import torch

from iqpir import threads


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch):
    """Nothing is chosen yet, and torch has its threads back afterwards."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before, choice = torch.get_num_threads(), threads.choice
    choice.cache_clear()
    yield
    choice.cache_clear()
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ({8: 1.0, 4: 0.6, 1: 2.0}, 4),
        ({8: 1.0, 4: 0.9, 1: 0.3}, 1),
        ({8: 1.0, 4: 0.95, 1: 2.0}, 8),
        ({8: 0.5, 4: 1.0, 1: 2.0}, 8),
    ],
)
def test_the_number_that_is_clearly_faster_is_chosen(taken: dict[int, float], expected: int):
    assert threads.fastest([8, 4, 1], taken.__getitem__).threads == expected


def test_turns_that_something_disturbs_now_and_then_do_not_decide():
    seconds = {8: iter([9.0, 0.01, 0.01, 5.0] + [0.01] * 6), 1: iter([0.02] * 10)}
    assert threads.fastest([8, 1], lambda number: next(seconds[number])).threads == 8


def test_no_turn_begins_when_the_time_is_up():
    turns: list[int] = []
    threads.fastest([2, 1], lambda number: turns.append(number) or 0.4)
    assert turns == [2, 1, 2, 1]


def test_what_was_chosen_is_tried_once(monkeypatch: pytest.MonkeyPatch):
    tried: list[int] = []

    def trial():
        return lambda number: tried.append(number) or (1.0 if number == 3 else 0.1)

    monkeypatch.setattr(threads, "_convolution", trial)
    monkeypatch.setattr(threads, "_silicon", lambda: 1)
    torch.set_num_threads(3)
    for _ in range(2):
        with threads.settled(None, "cpu") as said:
            assert said == "threads: 1, a convolution takes 0.10 × its time on 3 here"
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
        tried.append(0)
    assert tried[-2:] == [0, 0]  # nothing between the first time and the second


@pytest.mark.parametrize(
    ("asked", "device", "variable", "expected"), [(2, "cpu", "", 2), (None, "cuda", "", 3), (None, "cpu", "3", 3)]
)
def test_who_has_chosen_is_obeyed_and_nothing_is_tried(
    asked: int | None, device: str, variable: str, expected: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(threads, "choice", lambda usual: pytest.fail("tried"))
    torch.set_num_threads(3)
    with threads.settled(asked, device) as said:
        assert said is None
        assert torch.get_num_threads() == expected


def test_a_trial_leaves_the_threads_as_they_were():
    torch.set_num_threads(2)
    assert threads.choice(2).threads in threads.candidates(2)
    assert torch.get_num_threads() == 2
