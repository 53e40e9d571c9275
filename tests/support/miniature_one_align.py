"""A Q-Align of a few thousand weights, as a hub folder, and what the authors' network makes of an image with it.

`python miniature_one_align.py FOLDER` writes config.json, tokenizer.model, two shards and `expected.json`. The network
is the authors', in the copy that pyiqa carries: a program of its own, because importing that copy changes LLaMA for the
whole process. Two things that it misses with today's libraries are lent to it here: a package for debugging, and a
helper of transformers 4 that gives an image without padding a mask of zeros.
"""

from __future__ import annotations

import json
import sys
import types
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

SIDE, LANGUAGE, VISION = 56, 32, 24
CONFIG = {
    "vocab_size": 400,
    "hidden_size": LANGUAGE,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 5000.0,
    "visual_config": {
        "visual_model": {
            "hidden_size": VISION, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": SIDE, "patch_size": 14, "layer_norm_eps": 1e-5,
        },
        "visual_abstractor": {
            "num_learnable_queries": 5, "hidden_size": VISION, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 36, "encoder_hidden_size": VISION, "grid_size": 4, "layer_norm_eps": 1e-5,
        },
    },
}  # fmt: skip
PROCESSOR = {
    "crop_size": SIDE, "size": SIDE, "resample": 3, "do_center_crop": True, "do_normalize": True, "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
}  # fmt: skip
TOKENIZER = {
    "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
    "legacy": False, "tokenizer_class": "LlamaTokenizer",
}  # fmt: skip


def picture() -> Any:
    """Wider than high, so that the square around it shows."""
    import numpy as np

    y, x = np.mgrid[0:40, 0:67]
    return np.stack([x * 3.7 % 256, (x * y * 0.3) % 256, 255 - y * 6], axis=-1).astype(np.uint8)


def vocabulary(folder: Path) -> None:
    """Sentencepiece of LLaMA's kind, in which the five words are tokens."""
    import sentencepiece

    said = ["USER: How would you rate the quality of this image?", "ASSISTANT: The aesthetics of the image is"]
    corpus = [*said * 3, *["excellent good fair poor bad"] * 40]
    with mock.patch("sys.stderr"):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus), model_prefix=str(folder / "tokenizer"), vocab_size=CONFIG["vocab_size"],
            model_type="bpe", byte_fallback=True, hard_vocab_limit=False, normalization_rule_name="identity",
            remove_extra_whitespaces=False, split_digits=True, minloglevel=2,
        )  # fmt: skip
    (folder / "tokenizer.vocab").unlink()


def network(folder: Path) -> Any:
    import torch

    sys.modules["icecream"] = types.SimpleNamespace(ic=print)  # type: ignore[assignment]
    import pyiqa.archs.q_align.modeling_mplug_owl2 as authors
    from pyiqa.archs.q_align.configuration_mplug_owl2 import MPLUGOwl2Config
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    for name, kind in (("LlamaTokenizer", authors.LlamaTokenizer), ("CLIPImageProcessor", CLIPImageProcessorPil)):
        setattr(
            authors,
            name,
            types.SimpleNamespace(from_pretrained=lambda *_, kind=kind, **__: kind.from_pretrained(folder)),
        )
    config = MPLUGOwl2Config(**CONFIG)
    config._attn_implementation = "eager"
    torch.manual_seed(5)
    net = authors.MPLUGOwl2LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.25 + (1.0 if parameter.ndim == 1 else 0.0))
            parameter.copy_(parameter.bfloat16())  # as the published weights are
    net.model.visual_abstractor.invert_attention_mask = lambda mask: torch.zeros(len(mask), 1, 1, mask.shape[1])
    net.weight_tensor = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
    return net


def main(folder: Path) -> None:
    import torch
    from PIL import Image

    warnings.simplefilter("ignore")
    for name, content in (("preprocessor_config", PROCESSOR), ("tokenizer_config", TOKENIZER)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    vocabulary(folder)
    net = network(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "mplug_owl2", **CONFIG}))
    state = {name: value.bfloat16() for name, value in net.state_dict().items()}
    net.load_state_dict({name: value.float() for name, value in state.items()})
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)  # older checkpoints have it
    names = sorted(state)
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        torch.save({name: state[name] for name in part}, folder / f"pytorch_model-0000{number}-of-00002.bin")
    image = Image.fromarray(picture())
    square = authors_square(image)
    pixels = net.image_processor.preprocess([square], return_tensors="pt")["pixel_values"]
    expected = {}
    for task in ("quality", "aesthetics"):
        found = net.score(None, image_tensor=pixels, task_=task, return_dict=True)
        expected[task] = {"logits": found["logits"][0].tolist(), "ids": net.preferential_ids_}
    (folder / "expected.json").write_text(json.dumps(expected))


def authors_square(image: Any) -> Any:
    from pyiqa.archs.q_align.modeling_mplug_owl2 import expand2square

    return expand2square(image, tuple(int(255 * value) for value in PROCESSOR["image_mean"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
