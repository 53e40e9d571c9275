"""Writes `bench/catalog/metrics/pyiqa.yaml` from the installed pyiqa.

`python tests/support/pyiqa_catalogue.py > bench/catalog/metrics/pyiqa.yaml` after an upgrade of pyiqa, then read the
diff: the weight files are listened to while pyiqa builds each network offline with nothing in its checkpoints; those
that it would ask for later are named by hand below. The test next to this script holds the two together.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import logging
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

NATIVE = {"psnr", "ssim", "fid", "ms_ssim", "gmsd", "fsim", "vif", "piqe", "niqe", "brisque"}
NATIVE |= {"qalign", "qalign_8bit", "qalign_4bit"}
HUB = "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/"
TORCHVISION = "https://download.pytorch.org/models/"
FACEXLIB = "https://github.com/xinntao/facexlib/releases/download/"
FACES = [FACEXLIB + "v0.1.0/detection_Resnet50_Final.pth", FACEXLIB + "v0.2.2/parsing_parsenet.pth"]

# Full hashes, where the file was hashed by somebody: the heads from richzhang/PerceptualSimilarity and DISTS' own; then
# LFS pointers of chaofengc/IQA-PyTorch-Weights; files of facexlib and torchvision, of which many copies are hashed.
KNOWN = {
    "LPIPS_v0.1_alex-df73285e.pth": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    "LPIPS_v0.1_vgg-a78928a0.pth": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    "DISTS_weights-f5e65c96.pth": "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
    "musiq_koniq_ckpt-e95806b9.pth": "e95806b9eae5f3814c410f574ba8e552362bd5bc63d758ed5b97860f5d6185aa",
    "musiq_ava_ckpt-e8d3f067.pth": "e8d3f0671965dfe4301a1f7a4aedc8f49be8fed33b82dd5d116a9eb3ce2bd16b",
    "CNNIQA_koniq10k-e6f14c91.pth": "e6f14c91876e4ebc0120adaf0bba18a3014e54471ba8b42ab34d712c309e3b4b",
    "cfanet_nr_koniq_res50-9a73138b.pth": "9a73138beb3748dd6a83365610ac88fa1cd53225342c77fc9ed44a3be461354c",
    "cfanet_nr_spaq_res50-a7f799ac.pth": "a7f799ac6d046c236b92cc57c5556c019bf4c4b86879b67de7baf8fb318feb96",
    "cfanet_nr_flive_res50-ded1c74e.pth": "ded1c74e765d55a739f820e2c6350062cfcfb211833a1fd40a6fa0deb81cdb4d",
    "cfanet_iaa_ava_swin-393b41b4.pth": "393b41b49c41bf0ffa43ab7e13b26f374e211085f5fe2eba3408e89c8b67f935",
    "cfanet_iaa_ava_res50-3cd62bb3.pth": "3cd62bb33f9933ed7c6e3d5e79129e81c898eba78b7a2af516a0b0b974616975",
    "cfanet_fr_kadid_res50-2c4cc61d.pth": "2c4cc61d1377b16d3ae85e19b7c0bb46ab70f285aada61a42692ef7908765c5e",
    "cfanet_fr_pipal_res50-69bbe5ba.pth": "69bbe5ba7a5a890343a717fa88ae422ed2c440f1821f99f038a73eaef7d532d3",
    "WaDIQaM-NR-koniq-aaffea29.pth": "aaffea29ebb87fa1a668e1b21273452b40c0c01e5303a6ebc41ebfe695a2688e",
    "URanker_ckpt-450eb36d.pth": "450eb36d2504478a09588008a9f4b5e7974dc8f9172668623e28f8e86fbfcea4",
    "UNIQUE.pt": "129d149e9d98463ca2fc28cd64c395b31ea3a812244a47b20eb860d41b583ea1",
    "ARNIQA.pth": "ad2022e59b1040d5bab24f9325c10d0215956a2061248a36c15edaec3e60fcd1",
    "CLIP-IQA+_learned_prompts-603f3273.pth": "603f3273b6e8a75b309297c85781170c067c6b474f66818c2f253a46a6534447",
    "CLIPIQA+_ViTL14_512-e66488f2.pth": "e66488f27a5d7a86abe8fd9c168d70eef0a7ae3ebe1919e5c19efa8e8dfe495d",
    "CLIPIQA+_RN50_512-89f5d940.pth": "89f5d940c543b5d7010dec4f66deebf0768c2fd4ef5205ce5c9d0222ea63f5bc",
    "QualiCLIP.pth": "5818e085ac4b3d297cdd183fd2b1d8a4ddb2242e5bb7fd24b2cd66d7d132bc7e",
    "QualiCLIP+_koniq.pth": "450292893e96f38dca09d51ca2e0e1cd7cb1c2c55d444cfe2ac8ea2ab5d1d894",
    "QualiCLIP+_clive.pth": "5a2c75e4586abbaf1bc55e945691be14c70d68ede7dbabd86caebaf838ec50a3",
    "QualiCLIP+_flive.pth": "ac20494683fb8c26abae04c6df671c389bf42f08461b2eac8497d91d53d558cc",
    "QualiCLIP+_spaq.pth": "2d9c2ef6b746d0f42573c24a118a6f0bf1f919d60163b5dbd6de0b6fc7e1a0e9",
    "NIMA_InceptionV2_ava-b0c77c00.pth": "b0c77c00c789565be8e6af96c1641bbad716c1592bff1cdc749c6006b95bd34e",
    "NIMA_koniq-250367ae.pth": "250367aef148bc117e6750de5e9144db0d02b7c40ca844463ad95d8a03c8d675",
    "MANIQA_PIPAL-ae6d356b.pth": "ae6d356bcd583ae3c1ca81d84817cf96d662073896c7e40fceddb305ddc2f155",
    "DBCNN_KonIQ10k-2de81c0a.pth": "2de81c0af94ac46fb191fe713c4d72e93e0acb02e6aa29c601f4251e93b9ebe6",
    "ILNIQE_templateModel.mat": "14f4919a630498d732bbf11837d894d45a57f89c9ed84bea98851147290ce93c",
    "alex_shift_tolerant.pth": "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
    "detection_Resnet50_Final.pth": "6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d",
    "parsing_parsenet.pth": "3d558d8d0e42c20224f13cf5a29c79eba2d59913419f945545d8cf7b72920de2",
    "alexnet-owt-7be5be79.pth": "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    "vgg16-397923af.pth": "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    "resnet50-0676ba61.pth": "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    "resnet34-b627a593.pth": "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
    "resnet18-f37072fd.pth": "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
}
# Asked for after the point where building without checkpoints stops.
LATER = {
    "pi": [HUB + "niqe_modelparameters.mat"],
    "clipiqa+": [HUB + "CLIP-IQA+_learned_prompts-603f3273.pth"],
    "clipiqa+_vitL14_512": [HUB + "CLIPIQA+_ViTL14_512-e66488f2.pth"],
    "clipiqa+_rn50_512": [HUB + "CLIPIQA+_RN50_512-89f5d940.pth"],
    "laion_aes": [HUB + "sac+logos+ava1-l14-linearMSE.pth"],
    "liqe": [HUB + "liqe_koniq.pt"],
    "liqe_mix": [HUB + "liqe_mix.pt"],
    "qualiclip": [HUB + "QualiCLIP.pth"],
    "qualiclip+": [HUB + "QualiCLIP.pth", HUB + "QualiCLIP+_koniq.pth"],
    "qualiclip+-clive": [HUB + "QualiCLIP.pth", HUB + "QualiCLIP+_clive.pth"],
    "qualiclip+-flive": [HUB + "QualiCLIP.pth", HUB + "QualiCLIP+_flive.pth"],
    "qualiclip+-spaq": [HUB + "QualiCLIP.pth", HUB + "QualiCLIP+_spaq.pth"],
    "topiq_nr-face": FACES,
    "topiq_nr-face-v1": FACES,
    "topiq_nr_swin-face": FACES,
    **{name: [HUB + "afine.pth"] for name in ("afine_nr", "afine_fr", "afine_all", "afine_all_scale")},
}
UNAVAILABLE = {
    **dict.fromkeys(["fid", "sfid", "fid_dinov2", "inception_score"], "set metric: comes with its own extractor"),
    "clipscore": "it compares an image with a caption, which datasets here do not have",
    "fgresq_pair": "it ranks two images and gives three numbers instead of one",
    "fgresq": "it needs a Hugging Face CLIP repository besides its files, which bench does not fetch yet",
    "maclip": "pyiqa 0.1.16 runs it on a GPU only, whatever the device",
    "compare2score": "it needs the Hugging Face repository q-future/Compare2Score, which bench does not fetch yet",
}
REPOSITORIES = {
    "qalign": "pyiqa 0.1.16 cannot run it with the transformers it requires; q-align is the same model on our network",
    "qrealign": "it needs a Hugging Face repository of Q-ReAlign, which bench does not fetch yet",
}
LUMA = dict.fromkeys(["psnry", "ssim", "ms_ssim", "cw_ssim", "niqe", "niqe_matlab", "nrqm", "entropy"], "yiq")
LUMA["pi"] = "ycbcr"
# Smallest side that scores, found by trying (the metrics that need no weights).
MIN_SIZE = {"ssim": 11, "ssimc": 11, "ms_ssim": 161, "vif": 41}
TITLES = {"topiq_nr-face-v1": "TOPIQ trained on GFIQA (the papers' TOPIQ-G)", "musiq": "MUSIQ trained on KonIQ-10k"}


class Nothing(dict):  # type: ignore[type-arg]
    """A checkpoint that has every key and holds nothing."""

    def __getitem__(self, key: object) -> Nothing:
        return Nothing()


def listen(name: str) -> list[str]:
    """Addresses that pyiqa asks for while it builds a network, in order."""
    import pyiqa
    import torch

    asked: list[str] = []

    def download(url: str, to: str, *_: Any, **__: Any) -> None:
        asked.append(url)
        Path(to).write_bytes(b"")

    def state_dict(url: str, *_: Any, **__: Any) -> Nothing:
        asked.append(url)
        return Nothing()

    def urlopen(url: Any, *_: Any, **__: Any) -> None:
        asked.append(getattr(url, "full_url", url))
        raise OSError("offline")

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        for target, value in {
            "torch.hub.load_state_dict_from_url": state_dict,
            "torchvision.models._api.load_state_dict_from_url": state_dict,
            "torch.load": lambda *_, **__: Nothing(),
            "torch.nn.Module.load_state_dict": lambda *_, **__: torch.nn.modules.module._IncompatibleKeys([], []),
            "timm.models._builder.load_pretrained": lambda *_, **__: None,
            "urllib.request.urlopen": urlopen,
            "huggingface_hub.constants.HF_HUB_OFFLINE": True,
            "pyiqa.utils.download_util.download_url_to_file": download,
            "pyiqa.utils.download_util.DEFAULT_CACHE_DIR": folder,
        }.items():
            stack.enter_context(mock.patch(target, value))
        for module in [module for key, module in sys.modules.items() if key.startswith("pyiqa.archs")]:
            if hasattr(module, "DEFAULT_CACHE_DIR"):
                stack.enter_context(mock.patch.object(module, "DEFAULT_CACHE_DIR", folder))
        hub = torch.hub.get_dir()
        torch.hub.set_dir(folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                pyiqa.create_metric(name, device="cpu")
        except Exception as error:  # noqa: BLE001 – an empty checkpoint stops a build in many ways; the log is what counts
            print(f"{name}: building stopped at {type(error).__name__}", file=sys.stderr)
        finally:
            torch.hub.set_dir(hub)
    return asked


def weight(url: str) -> str:
    """A flow mapping with file, url and what is known of the hash."""
    file = url.rsplit("/", 1)[-1]
    # With ?download or through hf_hub_url the address is the same file.
    fields = [f"file: {quoted('weights/pyiqa/' + file)}", f"url: {quoted(url)}"]
    suffix = re.search(r"-([0-9a-f]{8})\.[a-z]+$", file)
    folder = url.rsplit("/", 2)[-2]
    if file in KNOWN or re.fullmatch("[0-9a-f]{64}", folder):
        fields.append(f"sha256: {KNOWN.get(file, folder)}")
    elif suffix:
        fields.append(f'prefix: "{suffix[1]}"')
    return "{" + ", ".join(fields) + "}"


def quoted(text: str) -> str:
    return f'"{text}"' if re.search(r"[+: ,#]", text.replace("https://", "")) else text


def bounds(text: str | None) -> str:
    """pyiqa's score range as YAML; a side that it calls approximate or leaves open stays open."""
    sides = [side.strip() for side in (text or "").split(",")]
    if len(sides) != 2:
        return "[null, null]"
    return "[" + ", ".join("null" if "~" in side or not side else side for side in sides) + "]"


def catalogue() -> str:
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    version = importlib.metadata.version("pyiqa")
    lines = [
        f"# The metrics of pyiqa {version}, written by tests/support/pyiqa_catalogue.py; edit that, not this.",
        "# `prefix`: the part of a file's SHA-256 that its name carries. Without any, bench fetch --pin accepts it.",
        ".pyiqa:",
        "  target: bench.metrics.pyiqa_metric:PyiqaMetric",
        "  library: pyiqa",
        f'  source: "pyiqa {version}"',
        "  home: https://github.com/chaofengc/IQA-PyTorch",
        "  licence: PolyForm-Noncommercial-1.0.0",
        "  digits: 4",
        "  learned: false",
    ]
    for name, config in DEFAULT_CONFIGS.items():
        repository = next((reason for start, reason in REPOSITORIES.items() if name.startswith(start)), None)
        unavailable = UNAVAILABLE.get(name, repository)
        asked = [] if unavailable else list(dict.fromkeys([*listen(name), *LATER.get(name, [])]))
        title = TITLES.get(name, f"{config['metric_opts']['type']} as pyiqa computes it")
        lines += [
            f"pyiqa-{name}:" if name in NATIVE else f"{quoted(name)}:",
            "  include: .pyiqa",
            f"  title: {quoted(title)}",
            f"  mode: {config['metric_mode']}",
            f"  better: {'lower' if config.get('lower_better') else 'higher'}",
            f"  range: {bounds(config.get('score_range'))}",
        ]
        if any(not url.endswith((".mat", "brisque_svm_weights.pth")) for url in asked):
            lines.append("  learned: true")
        if name in LUMA:
            lines.append(f"  options: {{luma: {LUMA[name]}}}")
        if name in MIN_SIZE:
            lines.append(f"  min_size: {MIN_SIZE[name]}")
        if unavailable:
            lines.append(f"  unavailable: {quoted(unavailable)}")
        if asked:
            lines += ["  weights:", *(f"    - {weight(url)}" for url in asked)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    text = catalogue()
    sys.stdout.write(text)
