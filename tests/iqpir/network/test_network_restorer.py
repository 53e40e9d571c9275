"""What the restorer does with codes, fidelity, batches, dtypes and gradients; small networks."""

from __future__ import annotations

import warnings

import pytest
import torch

from iqpir.errors import FidelityWarning, IQPIRError
from iqpir.network.autoencoder import VQAutoEncoder
from iqpir.network.fidelity import PixelFidelityBlock, match_statistics


@torch.no_grad()
def test_the_heads_rows_alternate_between_hq_and_common_codes(small, images):
    network = small()
    plain = network.predict(images, 0.9).logits
    weight = network.idx_pred_layer[1].weight
    n, book = 5, 0
    weight[2 * n + book] *= 2
    changed = network.predict(images, 0.9).logits
    doubled = (changed / plain).nan_to_num(1)
    expected = torch.ones_like(doubled)
    expected[:, :, n, book] = 2
    torch.testing.assert_close(doubled, expected, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_book_0_is_looked_up_in_the_hq_codebook_and_book_1_in_the_common_one(small):
    network = small(alpha=0.5)
    codes = torch.zeros(1, 64, 2, dtype=torch.long)
    codes[0, 10, 0], codes[0, 10, 1] = 7, 9  # position 10 is row 1, column 2 of 8×8
    latent = network.dequantize(codes)
    expected = network.quantize.embedding.weight[9] + 0.5 * network.quantize_aesthetic.embedding.weight[7]
    torch.testing.assert_close(latent[0, :, 1, 2], expected)
    others = network.quantize.embedding.weight[0] + 0.5 * network.quantize_aesthetic.embedding.weight[0]
    torch.testing.assert_close(latent[0, :, 2, 1], others)


@torch.no_grad()
def test_codebooks_of_different_sizes_never_give_a_code_that_does_not_exist(small, images):
    for common, hq in ((64, 16), (16, 64)):
        network = small(codebook=common, hq_codebook=hq)
        made = network(images, 0.9)
        assert made.logits.shape == (3, 64, 64, 2)
        codes = network.best_codes(made.logits)
        assert codes[..., 0].max() < hq
        assert codes[..., 1].max() < common
        assert torch.isfinite(torch.softmax(made.logits, dim=2)).all()


@torch.no_grad()
def test_alpha_zero_is_the_common_codebook_alone(small, images):
    network = small(alpha=0.0)
    made = network(images, 0.9)
    common = network.quantize.lookup(made.logits[..., 1].argmax(dim=2).view(3, 8, 8))
    torch.testing.assert_close(made.image, network.generator(match_statistics(common, made.features)))
    network.quantize_aesthetic.embedding.weight.normal_()
    assert torch.equal(network(images, 0.9).image, made.image)


@torch.no_grad()
def test_forced_codes_are_decoded_in_place_of_the_predicted_ones(small, images):
    network = small()
    made = network(images, 0.9)
    codes = network.best_codes(made.logits)
    assert torch.equal(network(images, 0.9, codes=codes).image, made.image)
    other = network(images, 0.9, codes=(codes + 1) % 64)
    assert torch.equal(other.logits, made.logits)
    assert (other.image - made.image).abs().max() > 1e-3
    for wrong, said in ((codes[..., 0], "shape"), (codes.float(), "integers"), (codes + 64, "64"), (codes - 64, "64")):
        with pytest.raises(IQPIRError, match=said):
            network(images, 0.9, codes=wrong)


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"hq_codebook": 0}, {"fusion": "attention"}, {"conditioning": "adaln"}])
def test_an_image_is_restored_alike_in_a_batch_and_alone(changes, small, images):
    network = small(**changes).double()
    network.fidelity_trained = True
    images, scores = images.double(), torch.tensor([0.15, 0.95, 0.5], dtype=torch.float64)
    together = network(images, scores, fidelity=0.7)
    for index in range(3):
        alone = network(images[index : index + 1], scores[index : index + 1], fidelity=0.7)
        torch.testing.assert_close(together.image[index], alone.image[0])
        torch.testing.assert_close(together.logits[index], alone.logits[0])
        torch.testing.assert_close(together.features[index], alone.features[0])


@torch.no_grad()
def test_adain_gives_the_latent_the_mean_and_unbiased_deviation_of_the_features():
    generator = torch.Generator().manual_seed(0)
    content = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64) * 3 + 1
    style = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64) * 0.1 - 2
    matched = match_statistics(content, style).numpy()
    for index in ((b, c) for b in range(2) for c in range(3)):
        source, target = content[index].numpy(), style[index].numpy()
        spread = ((target.var(ddof=1) + 1e-5) / (source.var(ddof=1) + 1e-5)) ** 0.5
        assert matched[index] == pytest.approx((source - source.mean()) * spread + target.mean(), abs=1e-12)


@torch.no_grad()
def test_without_adain_the_generator_sees_the_codes_themselves(small, images):
    network = small()
    made = network(images, 0.9, adain=False)
    latent = network.dequantize(network.best_codes(made.logits))
    assert torch.equal(made.image, network.generator(latent))


@torch.no_grad()
def test_fidelity_begins_at_no_effect_and_grows_with_w(small, images):
    network = small()
    network.fidelity_trained = True
    plain = network(images, 0.9).image
    steps = [(network(images, 0.9, fidelity=w).image - plain).abs().max().item() for w in (1e-4, 1e-2, 1.0)]
    assert 0 < steps[0] < 1e-2
    assert steps[0] < steps[1] < steps[2]


@torch.no_grad()
@pytest.mark.parametrize("sizes", [(), (8,), (16, 32)])
def test_fidelity_joins_encoder_and_generator_at_the_connected_sizes(sizes, small, images):
    network = small(connect=sizes)
    network.fidelity_trained = True
    joined = []
    for size, block in network.fuse_convs_dict.items():
        block.register_forward_hook(lambda _, inputs, __, size=int(size): joined.append((size, inputs[0].shape[-1])))
    network(images, 0.9, fidelity=1.0)
    assert sorted(joined) == [(size, size) for size in sizes]


@torch.no_grad()
def test_under_a_stem_a_block_of_pixels_scales_the_input_and_starts_without_effect():
    block = PixelFidelityBlock(stem=2, groups=4)
    given, made = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    assert torch.equal(block(given, made, 1.0), made)
    # A head whose last convolution is its bias alone gives each pixel of a block, and each colour, a number of its own.
    block.scale[-1].bias[:] = scale = torch.arange(12.0)
    block.shift[-1].bias[:] = 0.5
    found = block(given, made, 0.25)
    for colour in range(3):
        for row in range(2):
            for column in range(2):
                here = (slice(None), colour, slice(row, None, 2), slice(column, None, 2))
                expected = made[here] + 0.25 * (given[here] * scale[4 * colour + 2 * row + column] + 0.5)
                torch.testing.assert_close(found[here], expected)


@torch.no_grad()
def test_untrained_fidelity_is_warned_of_once_and_only_when_it_is_used(small, images):
    network = small()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(images, 0.9)
    with pytest.warns(FidelityWarning, match="untrained") as caught:
        network(images, 0.9, fidelity=0.5)
        network(images, 0.9, fidelity=0.5)
    assert len(caught) == 1
    trained = small()
    trained.fidelity_trained = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(images, 0.9, fidelity=0.5)


@pytest.mark.parametrize("fidelity", [-0.1, float("nan")])
def test_a_fidelity_that_is_no_weight_is_refused(fidelity, small, images):
    with pytest.raises(IQPIRError, match="fidelity"):
        small()(images, 0.9, fidelity=fidelity)


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (1, 3, 32, 48), (1, 1, 32, 32), (3, 32, 32)])
def test_another_size_is_refused_in_one_line(shape, small):
    with pytest.raises(IQPIRError, match="32,32") as error:
        small()(torch.zeros(shape), 0.9)
    assert "\n" not in str(error.value)


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-4), (torch.bfloat16, 0.15), (torch.float16, 0.02)])
def test_every_dtype_restores_the_same_image_from_the_same_codes(dtype, tolerance, small, images):
    network = small()
    network.fidelity_trained = True
    scores = torch.tensor([0.1, 0.5, 1.0])
    made = network(images, scores)
    codes = network.best_codes(made.logits)
    other = network.to(dtype)(images.to(dtype), scores.to(dtype), codes=codes)
    assert other.image.dtype == other.logits.dtype == other.features.dtype == dtype
    assert (other.features.float() - made.features).abs().mean() < tolerance
    assert (other.logits.float() - made.logits).abs().mean() < tolerance
    assert (other.image.float() - made.image).abs().mean() < tolerance


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.no_grad()
def test_a_cuda_device_restores_what_the_cpu_does(small, images):
    network = small()
    expected = network(images, torch.tensor([0.1, 0.5, 1.0]))
    made = network.cuda()(
        images.cuda(), torch.tensor([0.1, 0.5, 1.0]), codes=network.best_codes(expected.logits).cuda()
    )
    torch.testing.assert_close(made.image.cpu(), expected.image, atol=1e-2, rtol=1e-2)


def reached(network) -> set[str]:
    """The parts that a backward pass gave a gradient to."""
    return {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}


def test_image_gradients_pass_the_codes_straight_through_to_the_encoder_and_the_score(small, images):
    network = small()
    network(images, 0.9, adain=False, detach_16=False).image.square().mean().backward()
    assert reached(network) == {"encoder", "score_embed", "generator"}


def test_detached_codes_let_image_gradients_reach_the_generator_alone(small, images):
    network = small()
    network(images, 0.9, adain=False).image.square().mean().backward()
    assert reached(network) == {"generator"}


def test_logits_train_the_encoder_and_the_transformer(small, images):
    network = small()
    network.predict(images, 0.9).logits.square().mean().backward()
    trained = {"encoder", "score_embed", "feat_emb", "position_emb", "ft_layers", "idx_pred_layer"}
    assert reached(network) == trained


@pytest.mark.parametrize("changes", [{}, {"hq_codebook": 0}, {"hq_codebook": 16}])
@pytest.mark.parametrize("gumbel", [False, True])
def test_relaxed_codes_let_image_gradients_reach_the_transformer_too(changes, gumbel, small, images):
    network = small(**changes)
    latent = network.relax(network.predict(images, 0.9).logits, gumbel=gumbel)
    network.generate(latent).square().mean().backward()
    trained = {"encoder", "score_embed", "feat_emb", "position_emb", "ft_layers", "idx_pred_layer", "generator"}
    assert reached(network) == trained


def test_relaxed_codes_are_the_best_ones_with_the_gradient_of_the_mean_code(small):
    network = small(hq_codebook=16, alpha=0.5).double()
    logits = torch.randn(1, 64, 64, 2, dtype=torch.float64)
    logits[:, :, 16:, 0] = -torch.inf
    logits.requires_grad_(True)
    latent = network.relax(logits, temperature=2.0)
    torch.testing.assert_close(latent, network.dequantize(network.best_codes(logits)))
    (relaxed,) = torch.autograd.grad(latent.square().sum(), logits)
    common, hq = network.quantize.embedding.weight, network.quantize_aesthetic.embedding.weight
    position, code = 10, 7  # row 1, column 2; d mean / d logit_n = p_n (code_n − mean) / temperature
    for book, codes, weight in ((1, common, 1.0), (0, hq, 0.5)):
        shares = torch.softmax(logits[0, position, : len(codes), book] / 2, dim=0)
        slope = weight * shares[code] * (codes[code] - shares @ codes) / 2
        expected = (2 * latent[0, :, 1, 2] * slope).sum()
        torch.testing.assert_close(relaxed[0, position, code, book], expected)


@torch.no_grad()
def test_gumbel_noise_samples_codes_by_their_probability(small):
    torch.manual_seed(0)
    network = small(hq_codebook=0)
    logits = torch.full((400, 64, 64), -torch.inf)
    logits[..., 3], logits[..., 5] = torch.tensor([0.75, 0.25]).log()
    latent = network.relax(logits, gumbel=True)
    distance = (latent - network.quantize.embedding.weight[3].view(-1, 1, 1)).abs().amax(dim=1)
    share = (distance < 1e-4).float().mean().item()
    assert share == pytest.approx(0.75, abs=0.02)  # 25,600 draws: a deviation of 0.003


def test_fidelity_blocks_get_gradients_but_pass_none_to_the_encoder(small, images):
    network = small().train()
    network(images, 0.9, fidelity=1.0, adain=False).image.square().mean().backward()
    assert reached(network) == {"generator", "fuse_convs_dict"}


def test_a_restorer_takes_over_an_autoencoder_that_fits(small):
    network, other = small(), small()
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1.0)
    autoencoder = VQAutoEncoder(other.config)
    autoencoder.load_state_dict(other.state_dict(), strict=False)
    before = network.ft_layers[0].linear1.weight.clone()
    network.adopt(autoencoder)
    assert torch.equal(network.quantize_aesthetic.embedding.weight, other.quantize_aesthetic.embedding.weight)
    assert torch.equal(network.generator.blocks[0].weight, other.generator.blocks[0].weight)
    assert torch.equal(network.ft_layers[0].linear1.weight, before)
    with pytest.raises(IQPIRError, match=r"missing quantize_aesthetic\.embedding\.weight"):
        network.adopt(VQAutoEncoder(small(hq_codebook=0).config))
