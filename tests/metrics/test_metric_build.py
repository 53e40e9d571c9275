"""From an entry, a protocol and options to a metric; and every request that must be refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError
from bench.metrics.build import build_metric

NONE = {"view": {}, "metrics": {}}


def built(name, options=None, protocol=NONE):
    return build_metric(registry("metric").get(name), options or {}, protocol)


def test_options_go_to_the_view_or_to_the_metric():
    metric = built("ssim", {"space": "y", "crop": 4, "window": "uniform7"})
    assert (metric.view.space, metric.view.crop, metric.window) == ("y", 4, "uniform7")


def test_the_signatures_name_of_rounding_is_accepted():
    assert built("psnr", {"range": "none"}).view.rounding == "none"


def test_options_override_the_metrics_part_of_a_protocol_which_overrides_its_view():
    protocol = {"view": {"space": "y", "crop": 4}, "metrics": {"psnr": {"crop": 2, "eps": 1e-8}}}
    metric = built("psnr", {"eps": 0}, protocol)
    assert (metric.view.space, metric.view.crop, metric.eps) == ("y", 2, 0.0)
    assert built("ssim", {}, protocol).view.crop == 4


def test_a_protocol_object_is_as_good_as_its_settings():
    from bench.metrics.protocols import protocol

    rules = protocol("pyiqa/default")
    assert built("ssim", {}, rules).signature() == built("ssim", {}, rules.settings).signature()


def test_yamls_bare_no_is_the_word_no():
    assert built("psnr", {"gtmean": False}).view.gtmean == "no"


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("psnr", {"spce": "y"}, "no option 'spce'; did you mean 'space'"),
        ("ssim", {"windw": "uniform7"}, "did you mean 'window'"),
        ("psnr", {"crop": "4"}, "'crop' must be a whole number"),
        ("psnr", {"crop": True}, "'crop' must be a whole number"),
        ("psnr", {"eps": "small"}, "'eps' must be a number"),
        ("ssim", {"clamp": 1}, "'clamp' must be true or false"),
        ("psnr", {"space": "ycbcr"}, "space 'ycbcr' is not one of"),
        ("piqe", {"gtmean": "gray"}, "sees no reference: option 'gtmean'"),
        ("piqe", {"resize": "pil-bicubic"}, "sees no reference: option 'resize'"),
        ("pyiqa-gmsd", {"space": "y"}, "takes rgb or bgr: space 'y' does not apply"),
        ("psnr", {"unverified": True}, "no option 'unverified'"),
        ("psnr", {"view": {}}, "no option 'view'"),
        ("musiq", {"weights": []}, "no option 'weights'"),
        ("pyiqa-fid", {}, "not available: set metric"),
        ("pyiqa-gmsd", {"luma": "ycbcr"}, "fixed by pyiqa"),
        ("pyiqa-niqe", {"luma": "rgb"}, "one of yiq, ycbcr, lhm"),
    ],
)
def test_a_wrong_request_is_one_line(name, options, message):
    with pytest.raises(BenchError, match=message) as caught:
        built(name, options)
    assert "\n" not in str(caught.value)


def test_what_a_protocol_says_about_references_is_not_for_a_no_reference_metric():
    protocol = {"view": {"gtmean": "gray", "resize": "pil-bicubic", "crop": 4}, "metrics": {}}
    view = built("piqe", {}, protocol).view
    assert (view.gtmean, view.resize, view.crop) == ("no", "no", 4)


def test_a_protocols_luma_is_not_for_a_metric_of_colour_images():
    assert built("pyiqa-gmsd", {}, {"view": {"space": "y"}, "metrics": {}}).view.space == "rgb"


def test_a_target_that_is_no_metric_is_named():
    entry = Entry("odd", "metric", {"target": "bench.errors:BenchError"}, "odd.yaml:1")
    with pytest.raises(BenchError, match=r"'odd' \(odd.yaml:1\).* is not a Metric"):
        build_metric(entry, {}, NONE)


def test_building_and_signing_every_metric_imports_no_heavy_library():
    script = (
        "import sys\n"
        "from bench.catalog.registry import registry\n"
        "from bench.metrics.build import build_metric\n"
        "from bench.metrics.protocols import protocol\n"
        "rules = protocol('basicsr/y-crop4')\n"
        "for entry in registry('metric'):\n"
        "    if not entry.fields.get('unavailable'):\n"
        "        str(build_metric(entry, {}, rules).signature())\n"
        "heavy = {'torch', 'cv2', 'pyiqa', 'pandas', 'skimage', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_signatures_of_all_metrics_differ():
    # A name may point to another entry (`uciqe` to `uciqe-jou-uip`): the same class with the same options.
    entries = [entry for entry in registry("metric") if not entry.fields.get("unavailable")]
    pointing = {"uciqe": "uciqe-jou-uip", "uiqm": "uiqm-funie-256"}
    metrics = [built(entry.name) for entry in entries if entry.name not in pointing]
    assert len({str(metric.signature()) for metric in metrics}) == len(metrics)
    for name, target in pointing.items():
        assert built(name).signature() == built(target).signature()
