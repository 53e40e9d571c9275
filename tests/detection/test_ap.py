"""Average precision: equal to pycocotools and faster-coco-eval, VOC's by hand."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.detection.ap import COCO_THRESHOLDS, Image, average_precision, overlaps

edge = st.integers(0, 12)
side = st.integers(1, 8)
box = st.tuples(edge, edge, side, side)
truth = st.tuples(box, st.booleans(), st.integers(0, 1))
"""Box, crowd, class."""
found = st.tuples(box, st.sampled_from([0.1, 0.25, 0.5, 0.5, 0.9]), st.integers(0, 1))
"""Box, score (ties are likely), class."""
image = st.tuples(st.lists(truth, max_size=5), st.lists(found, max_size=7))


def reference(images, most: int, library) -> dict[int, tuple[float, float]]:
    """(AP50, AP50:95) of each class by a library, −1 where it has none."""
    loader, evaluator = library()
    data = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}
    results = []
    for number, (objects, hits) in enumerate(images, start=1):
        data["images"].append({"id": number, "width": 20, "height": 20})
        for corners, crowd, kind in objects:
            data["annotations"].append(
                {
                    "id": len(data["annotations"]) + 1, "image_id": number, "category_id": kind + 1,
                    "bbox": list(map(float, corners)), "area": float(corners[2] * corners[3]), "iscrowd": int(crowd),
                }
            )  # fmt: skip
        results += [
            {"image_id": number, "category_id": kind + 1, "bbox": list(map(float, corners)), "score": score}
            for corners, score, kind in hits
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        known = loader()
        known.dataset = data
        known.createIndex()
        loaded = known.loadRes(results)
        values = {}
        for kind in (1, 2):
            judge = evaluator(known, loaded, "bbox")
            judge.params.catIds, judge.params.maxDets = [kind], [most]
            judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
            judge.evaluate()
            judge.accumulate()
            precision = np.asarray(judge.eval["precision"])[:, :, 0, 0, 0]
            values[kind - 1] = (precision[0].mean(), precision.mean())
    return values


def ours(images, most: int) -> dict[int, tuple[float, float]]:
    def corners(boxes) -> np.ndarray:
        table = np.array(boxes, np.float64).reshape(-1, 4)
        return np.concatenate([table[:, :2], table[:, :2] + table[:, 2:]], axis=1)

    values = {}
    for kind in (0, 1):
        mine = []
        for objects, hits in images:
            objects = [one for one in objects if one[2] == kind]
            hits = [one for one in hits if one[2] == kind]
            scores = np.array([score for _, score, _ in hits], np.float64)[:, None]
            boxes = np.concatenate([corners([one[0] for one in hits]), scores], axis=1)
            mine.append(Image(boxes, corners([one[0] for one in objects]), np.array([one[1] for one in objects], bool)))
        each = average_precision(mine, COCO_THRESHOLDS, most=most)
        values[kind] = tuple(-1.0 if np.isnan(value) else value for value in (each[0], each.mean()))
    return values


def pycocotools():
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return COCO, COCOeval


def faster():
    import faster_coco_eval

    return faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster


@settings(max_examples=150, deadline=None)
@example(images=[([((0, 0, 4, 4), False, 0)], [((0, 0, 4, 4), 0.5, 0)] * 3)], most=2)
@example(images=[([], [((0, 0, 4, 4), 0.5, 0)]), ([((0, 0, 4, 4), True, 0)], [((1, 1, 2, 2), 0.9, 0)])], most=100)
@example(images=[([((0, 0, 2, 2), False, 0)], [((0, 0, 4, 1), 0.5, 0)])], most=100)
@given(images=st.lists(image, min_size=1, max_size=4), most=st.sampled_from([1, 3, 100]))
def test_ap_is_that_of_pycocotools_with_crowds_ties_and_empty_images(images, most):
    if not any(hits for _, hits in images):  # loadRes refuses an empty list
        images = [*images, ([], [((0, 0, 1, 1), 0.1, 0)])]
    expected, made = reference(images, most, pycocotools), ours(images, most)
    for kind in (0, 1):
        assert made[kind] == pytest.approx(expected[kind], abs=1e-9)


def drawn(seed: int):
    """Thirty images with real-valued boxes, detections scattered about the objects."""
    draw = np.random.default_rng(seed)
    images = []
    for _ in range(30):
        objects, hits = [], []
        for _ in range(draw.integers(0, 5)):
            corners = tuple(draw.uniform([0, 0, 20, 20], [80, 80, 60, 60]))
            kind = int(draw.integers(2))
            objects.append((corners, bool(draw.uniform() < 0.15), kind))
            hits += [
                (tuple(np.array(corners) + draw.normal(0, 5, 4)), float(draw.uniform()), kind)
                for _ in range(draw.integers(0, 3))
            ]
        images.append((objects, hits))
    return images


@pytest.mark.parametrize("library", [pycocotools, faster])
def test_ap_of_real_valued_boxes_is_that_of_both_libraries(library):
    images = drawn(0)
    expected, made = reference(images, 100, library), ours(images, 100)
    for kind in (0, 1):
        assert 0.1 < made[kind][1] < made[kind][0] < 0.95
        assert made[kind] == pytest.approx(expected[kind], abs=1e-9)


A, B = [0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]


def case(*found: list[float], truth: list[list[float]], ignored: list[bool] | None = None) -> list[Image]:
    skipped = np.array(ignored or [False] * len(truth), bool)
    return [Image(np.array(found).reshape(-1, 5), np.array(truth).reshape(-1, 4), skipped)]


def test_voc_by_hand_one_of_two_objects_found_after_a_false_one():
    # Ranked: wrong, right. Precision 0, 1/2 at recall 0, 1/2; beyond that nothing.
    images = case([50, 50, 60, 60, 0.9], [*A, 0.8], truth=[A, B])
    assert average_precision(images, rule="voc") == pytest.approx([0.25])
    assert average_precision(images, rule="voc11") == pytest.approx([6 / 11 * 0.5])  # recalls 0, 0.1 … 0.5
    assert average_precision(images, rule="coco") == pytest.approx([51 / 101 * 0.5])  # recalls 0, 0.01 … 0.50


def test_voc_holds_a_detection_against_the_object_it_overlaps_most_and_coco_against_a_free_one():
    near = [0.0, 0.0, 10.0, 8.0]
    images = case([*A, 0.9], [0.0, 0.0, 10.0, 9.8, 0.8], truth=[A, near])
    assert average_precision(images, rule="voc") == pytest.approx([0.5])  # the second overlaps the taken A most
    assert average_precision(images, rule="coco") == pytest.approx([1.0])  # and IoU 8/9.8 with the free one


def test_vocs_devkit_counts_the_pixel_of_the_right_and_bottom_edges():
    """By hand: pixels 0 to 9 against 5 to 14 across, all of 0 to 9 down: 5·10 of 15·10 shared, or 4·9 of 14·9."""
    images = case([5.0, 0.0, 14.0, 9.0, 0.9], truth=[[0.0, 0.0, 9.0, 9.0]])
    for inclusive, shared in ((True, 5 / 15), (False, 4 / 14)):
        for threshold, value in ((shared - 1e-9, 1.0), (shared + 1e-9, 0.0)):
            made = average_precision(images, [threshold], rule="voc", inclusive=inclusive)
            assert made == pytest.approx([value])
    assert images[0].truth.tolist() == [[0, 0, 9, 9]]  # the caller's boxes stay as they are


def test_a_difficult_object_is_neither_to_be_found_nor_wrong_to_find():
    images = case([*B, 0.9], [*A, 0.8], truth=[A, B], ignored=[False, True])
    for rule in ("coco", "voc", "voc11"):
        assert average_precision(images, rule=rule) == pytest.approx([1.0])


@pytest.mark.parametrize("rule", ["coco", "voc", "voc11"])
def test_without_objects_there_is_no_value_and_without_detections_it_is_zero(rule):
    assert np.isnan(average_precision(case([*A, 0.5], truth=[]), rule=rule)).all()
    assert np.isnan(average_precision(case([*A, 0.5], truth=[A], ignored=[True]), rule=rule)).all()
    assert average_precision(case(truth=[A]), rule=rule) == pytest.approx([0.0])
    assert np.isnan(average_precision([], rule=rule)).all()


def test_overlap_by_hand():
    crowd = np.array([False, True])
    shared = overlaps(np.array([[0.0, 0, 4, 4]]), np.array([[2.0, 0, 6, 4], [2.0, 0, 6, 4]]), crowd)
    assert shared == pytest.approx(np.array([[8 / 24, 8 / 16]]))
    nothing = np.zeros((1, 4))
    assert overlaps(nothing, nothing, np.array([False])) == pytest.approx(np.zeros((1, 1)))
