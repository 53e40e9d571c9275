"""What was done to images, by their names."""

from __future__ import annotations

import pytest

from bench.data.items import Item
from bench.data.told import by_name, kind_of
from bench.errors import BenchError


def items(*names: str) -> list[Item]:
    return [Item(name, None) for name in names]


def test_names_are_read_from_left_to_right_or_put_in_order():
    rule = {"id": "^([^/]+)/", "split": "+"}
    assert by_name("d", items("rain+fog/1", "7"), rule)[0].done == ("rain", "haze")
    assert by_name("d", items("rain+fog/1", "7"), rule)[1].done is None
    (ordered,) = by_name("d", items("haze_low/1"), {"id": "^([^/]+)/", "split": "_", "order": ["low", "rain", "haze"]})
    assert ordered.done == ("low light", "haze")


def test_a_name_that_nobody_knows_is_said_with_the_nearest():
    with pytest.raises(BenchError, match=r"d: nobody knows what 'hase' does to an image.*haze"):
        by_name("d", items("hase/1"), {"id": "^([^/]+)/", "split": "+"})
    assert kind_of("d", "jpeg compression artifact") == "jpeg"


@pytest.mark.parametrize("rule", [{}, {"id": "(.)"}, {"id": "(.)", "split": "_", "ordre": []}])
def test_a_rule_that_is_none_is_refused(rule: dict[str, object]):
    with pytest.raises(BenchError, match="told has id, split"):
        by_name("d", items("x"), rule)
