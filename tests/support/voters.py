"""Simulated participants who click, press and tap a study's page in a real browser, with a preference of their own.

They see what a participant sees, and know which image is which by the key, as nobody else would.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# The page's own clock runs faster, so that people who take their time do not take the test's.
_FAST = "(() => { const now = performance.now.bind(performance); performance.now = () => now() * 20; })();"


class Voter(NamedTuple):
    """A participant."""

    person: int
    noise: float = 0.7
    careless: bool = False
    """Answers the same whatever is shown."""
    reloads: bool = False
    phone: bool = False
    keys: bool = False
    """Answers with the keyboard."""
    language: str = "en"


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium; the test is skipped, with the reason, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.skip(f"no {PROGRAMS[0]} is installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield started
        finally:
            started.close()


class Sitting:
    """One voter before one page."""

    def __init__(self, started: Any, voter: Voter, key: Mapping[str, Any], quality: Mapping[str, float]) -> None:
        size = {"width": 390, "height": 844} if voter.phone else {"width": 1280, "height": 800}
        self.context = started.new_context(
            viewport=size, has_touch=voter.phone, locale=voter.language, accept_downloads=True
        )
        self.context.add_init_script(_FAST)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(f"{request.url} {request.post_data or ''}"))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.voter, self.key = voter, key
        self._quality = quality
        self._draw = random.Random(voter.person)

    def begin(self, address: str) -> None:
        self.page.goto(f"{address}?p={self.voter.person}")
        self._press("#begin")
        for name in ("dark", "bright", "gamma"):
            self._press(f"#{name} button:nth-child(3)")
        self._press("#go")

    def vote(self, shots: Path | None = None) -> None:
        """Answer all questions."""
        page, done = self.page, 0
        while True:
            page.wait_for_selector(f"#next[data-step='{done}'], #download")
            if page.query_selector("#download"):
                return
            if shots is not None and done in (0, 5):
                page.screenshot(path=shots / f"{'phone' if self.voter.phone else 'wide'}-{done}.png")
            if self.voter.reloads and done == 4:
                page.reload()
                page.wait_for_selector(f"#next[data-step='{done}']")
            page.wait_for_timeout(20)  # of 20-fold time: nobody answers before the page takes answers
            self._answer()
            done += 1

    def wait_until_sent(self) -> None:
        """Until the page says that a server has all answers. By a locator: the page's policy forbids `eval`."""
        self.page.locator("#sent", has_text=re.compile("received|angekommen")).wait_for()

    def save(self, folder: Path) -> Path:
        with self.page.expect_download() as waiting:
            self._press("#download")
        target = folder / waiting.value.suggested_filename
        waiting.value.save_as(target)
        return target

    def close(self) -> None:
        self.context.close()

    def _press(self, selector: str) -> None:
        (self.page.tap if self.voter.phone else self.page.click)(selector)

    def _answer(self) -> None:
        shown = self.page.eval_on_selector_all(
            "[data-index] img", "images => images.map(one => one.src.split('/').pop().replace('.png', ''))"
        )
        for place, criterion in enumerate(self.key["criteria"]):
            seen = [self._seen(name) for name in shown]
            if self.key["design"] == "rating":
                score = 3 if self.voter.careless else min(5, max(0, round(seen[0])))
                self._choose(place, criterion, score, str(score))
            elif self.key["design"] == "pairs":
                gap = 1.0 if self.voter.careless else seen[0] - seen[1]
                side = 2 if abs(gap) < 0.1 else 0 if gap > 0 else 1
                self._choose(place, criterion, side, ("ArrowLeft", "ArrowRight", "ArrowDown")[side])
            else:
                order = list(range(len(seen)))
                if not self.voter.careless:
                    order.sort(key=lambda one: -seen[one])
                for one in order[:-1]:
                    if self.voter.keys:
                        self.page.keyboard.press(str(one + 1))
                    else:
                        self._press(f"[data-index='{one}']")
        if self.voter.keys:
            self.page.keyboard.press("Enter")
        else:
            self._press("#next:not([disabled])")

    def _choose(self, place: int, criterion: str, value: int, key: str) -> None:
        if self.voter.keys:
            self.page.keyboard.press(key)
        else:
            self._press(f".criterion:nth-child({place + 1}) button[data-value='{value}']")

    def _seen(self, name: str) -> float:
        what = self.key["images"][name]["what"]
        return max(self._quality[one] for one in what) + self._draw.gauss(0, self.voter.noise)


def key_of(study: Path) -> Any:
    return json.loads((study / "key.json").read_text(encoding="utf-8"))
