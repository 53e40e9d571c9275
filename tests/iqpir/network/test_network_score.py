"""How a score becomes a bin and how bins enter the network: every dtype, never out of range, each image its own."""

from __future__ import annotations

import math
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iqpir.errors import IQPIRError
from iqpir.network.conditioning import score_bins

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bins", [5, 10, 20])
def test_the_lower_edge_of_a_bin_belongs_to_it_in_every_dtype(dtype, bins):
    edges = torch.tensor([k / bins for k in range(bins)], dtype=dtype)
    assert score_bins(edges, bins).tolist() == list(range(bins))


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_at_and_beyond_the_ends_are_in_the_first_and_last_bin(dtype):
    scores = torch.tensor([-math.inf, -1e4, -0.01, -0.0, 0.0, 0.95, 1.0, 1.01, 6e4, math.inf], dtype=dtype)
    assert score_bins(scores, 10).tolist() == [0, 0, 0, 0, 0, 9, 9, 9, 9, 9]


def test_the_authors_test_scores_are_in_bin_nine():
    assert score_bins(torch.tensor([0.9, 0.91, 0.95]), 10).tolist() == [9, 9, 9]


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=1), st.integers(1, 100))
def test_float64_scores_are_floored_products_between_the_ends(scores, bins):
    expected = [min(max(math.floor(min(max(s * bins, -1), bins)), 0), bins - 1) for s in scores]
    assert score_bins(torch.tensor(scores, dtype=torch.float64), bins).tolist() == expected


@settings(deadline=None)
@given(st.floats(0, 1, width=32), st.integers(1, 100))
def test_float32_products_are_rounded_to_float32(score, bins):
    (product,) = struct.unpack("f", struct.pack("f", score * bins))  # exact in float64, then rounded once
    assert score_bins(torch.tensor([score]), bins).item() == min(math.floor(product), bins - 1)


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(DTYPES))
def test_a_better_score_is_never_in_a_lower_bin(one, other, dtype):
    low, high = score_bins(torch.tensor([min(one, other), max(one, other)], dtype=dtype), 10).tolist()
    assert 0 <= low <= high <= 9


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_is_refused(dtype, small, images):
    score = torch.tensor([0.5, math.nan, 0.5], dtype=dtype)
    with pytest.raises(IQPIRError, match="NaN"):
        score_bins(score, 10)
    with pytest.raises(IQPIRError, match="NaN"):
        small()(images, score)


def test_a_bins_row_is_a_map_added_to_the_latent_channels_first(small, images):
    network = small()
    size, channels = network.config.latent_size, network.config.latent_channels
    row = torch.arange(channels * size * size, dtype=torch.float32)
    with torch.no_grad():
        network.score_embed.weight[3] = row
        latent = network.encoder(images)
        _, features = network.read(latent, torch.tensor([0.3, 0.35, 0.9]))
    added = features - latent
    assert added[0, 2, 1, 3].item() == pytest.approx(2 * size * size + size + 3, abs=0.01)
    assert torch.equal(features[0] - latent[0], (latent[0] + row.view(channels, size, size)) - latent[0])
    assert (added[0] - added[1]).abs().max() < 1e-2
    assert (added[2] - added[0]).abs().max() > 1


@torch.no_grad()
def test_conditioning_leaves_the_latent_as_it_was(small, images):
    network = small()
    latent = network.encoder(images)
    before = latent.clone()
    network.read(latent, 0.9)
    assert torch.equal(latent, before)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["add", "adaln"])
def test_each_image_is_conditioned_on_its_own_score(kind, small, images):
    network = small(conditioning=kind).double()
    one = images[:1].double()
    scores = [0.05, 0.55, 1.0]
    together = network(one.repeat(3, 1, 1, 1), torch.tensor(scores, dtype=torch.float64))
    for index, score in enumerate(scores):
        alone = network(one, score)
        torch.testing.assert_close(together.logits[index], alone.logits[0])
        torch.testing.assert_close(together.image[index], alone.image[0])
    assert (together.logits[0] - together.logits[1]).abs().max() > 1e-3


@torch.no_grad()
def test_one_number_stands_for_all_images_and_numbers_may_be_a_list(small, images):
    network = small()
    expected = network(images, torch.tensor([0.4, 0.4, 0.4])).logits
    for score in (0.4, torch.tensor(0.4), [0.4, 0.4, 0.4], torch.tensor([0.4] * 3, dtype=torch.float64)):
        assert torch.equal(network(images, score).logits, expected)


@torch.no_grad()
def test_several_iqa_models_are_given_as_a_list_or_by_rows_and_their_maps_are_summed(small, images):
    network = small(conditioning="add-list", bins=(20, 10))
    per_model = torch.tensor([[0.11, 0.66, 1.0], [0.11, 0.66, 1.0]])
    latent = network.encoder(images)
    _, features = network.read(latent, per_model)
    rows = network.score_embed[0].weight[[2, 13, 19]] + network.score_embed[1].weight[[1, 6, 9]]
    torch.testing.assert_close(features, latent + rows.view(latent.shape))
    assert torch.equal(network.read(latent, list(per_model))[1], features)
    assert torch.equal(network.read(latent, [0.5, 0.7])[1], network.read(latent, [[0.5] * 3, [0.7] * 3])[1])


@pytest.mark.parametrize(
    ("bins", "score", "said"),
    [
        ((10,), None, "give a score"),
        ((10,), [0.5, 0.5], "for 3 images"),
        ((10,), torch.rand(3, 1), "for 3 images"),
        ((10,), ["good", "bad", "fair"], "numbers"),
        ((20, 20), 0.5, "list of 2 scores"),
        ((20, 20), [0.5] * 3, "3 scores for 2 IQA models"),
        ((20, 20), torch.rand(2, 4), "for 3 images"),
    ],
)
def test_scores_that_do_not_fit_are_refused_in_one_line(bins, score, said, small, images):
    network = small(conditioning="add-list" if len(bins) > 1 else "add", bins=bins)
    with pytest.raises(IQPIRError, match=said) as error:
        network(images, score)
    assert "\n" not in str(error.value)


@torch.no_grad()
def test_without_conditioning_no_score_is_needed_and_none_matters(small, images):
    network = small(conditioning="none")
    assert torch.equal(network(images).logits, network(images, 0.1).logits)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["add", "adaln"])
def test_zero_initialised_conditioning_is_the_network_without_it(kind, small, images):
    conditioned = small(conditioning=kind, score_init="zero")
    plain = small(conditioning="none")
    shared = {name: value for name, value in conditioned.state_dict().items() if name in plain.state_dict()}
    plain.load_state_dict(shared)
    expected = plain(images)
    for score in (0.0, 0.5, 1.0):
        torch.testing.assert_close(conditioned(images, score).logits, expected.logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_adaln_uses_its_attention_and_reproduces_the_authors_slip_on_request(small, images):
    for drops in (False, True):
        network = small(conditioning="adaln", adaln_drops_attention=drops)
        before = network(images, 0.9).logits
        for layer in network.ft_layers:
            layer.self_attn.in_proj_weight.normal_()
        changed = not torch.equal(network(images, 0.9).logits, before)
        assert changed is not drops
