"""Stage 1: what is quantised, which images the HQ+ codebook serves, and where the gradients of its losses go."""

from __future__ import annotations

import pytest
import torch

from iqpir.errors import IQPIRError
from iqpir.network.autoencoder import VQAutoEncoder
from iqpir.network.quantizer import AttentionFusion, VectorQuantizer
from iqpir.training.codes import gt_codes


@pytest.fixture
def autoencoder(small):
    def make(**changes) -> VQAutoEncoder:
        made = small(**changes)
        network = VQAutoEncoder(made.config)
        network.load_state_dict(made.state_dict(), strict=False)
        return network.eval()

    return make


def quantizer(beta_on: str) -> tuple[VectorQuantizer, torch.Tensor]:
    torch.manual_seed(0)
    book = VectorQuantizer(5, 4, 0.25, beta_on).double()
    torch.nn.init.normal_(book.embedding.weight)
    return book, torch.randn(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)


@torch.no_grad()
def test_the_nearest_code_is_chosen_and_looked_up():
    book, latent = quantizer("commitment")
    made = book(latent)
    points = latent.permute(0, 2, 3, 1)
    expected = torch.cdist(points.reshape(-1, 4), book.embedding.weight).argmin(dim=1).view(2, 3, 3)
    assert torch.equal(made.codes, expected)
    torch.testing.assert_close(made.latent.permute(0, 2, 3, 1), book.embedding.weight[expected])
    shares = torch.bincount(expected.flatten(), minlength=5) / 18
    entropy = -sum(p * torch.log(p) for p in shares if p > 0)
    assert made.perplexity.item() == pytest.approx(torch.exp(entropy).item(), rel=1e-6)


@pytest.mark.parametrize(("beta_on", "to_latent", "to_book"), [("commitment", 0.25, 1.0), ("codebook", 1.0, 0.25)])
def test_beta_weighs_the_commitment_or_as_the_authors_have_it_the_codebook(beta_on, to_latent, to_book):
    book, latent = quantizer(beta_on)
    made = book(latent)
    chosen = book.embedding.weight[made.codes].permute(0, 3, 1, 2)
    error = (latent - chosen).detach()
    assert made.loss.shape == (2,)
    torch.testing.assert_close(made.loss, 1.25 * error.square().mean(dim=(1, 2, 3)))
    made.loss.sum().backward()
    torch.testing.assert_close(latent.grad, to_latent * 2 * error / 36)
    gathered = torch.zeros_like(book.embedding.weight)
    gathered.index_add_(0, made.codes.flatten(), (-to_book * 2 * error / 36).permute(0, 2, 3, 1).reshape(-1, 4))
    torch.testing.assert_close(book.embedding.weight.grad, gathered)


def test_the_straight_through_gradient_is_one_plus_alpha_for_images_with_hq_codes(autoencoder):
    network = autoencoder(alpha=0.8)
    latent = torch.randn(2, 64, 4, 4, requires_grad=True)
    common, hq = network.quantize(latent), network.quantize_aesthetic(latent)
    network.fuse(common.latent, hq.latent, torch.tensor([True, False])).sum().backward()
    torch.testing.assert_close(latent.grad[0], torch.full((64, 4, 4), 1.8))
    torch.testing.assert_close(latent.grad[1], torch.full((64, 4, 4), 1.0))


def test_images_at_or_below_the_threshold_leave_the_hq_codebook_alone(autoencoder, images):
    network = autoencoder(threshold=0.75)
    made = network.reconstruct(images[:2], torch.tensor([0.75, 0.3]))
    assert made.uses_hq.tolist() == [False, False]
    assert made.hq.loss.tolist() == [0, 0]
    (made.image.square().mean() + made.hq.loss.mean() + made.common.loss.mean()).backward()
    gradient = network.quantize_aesthetic.embedding.weight.grad
    assert gradient is None or not gradient.any()
    made = network.reconstruct(images[:2], torch.tensor([0.75, 0.76]))
    assert made.uses_hq.tolist() == [False, True]
    made.hq.loss.mean().backward()
    used = set(made.hq.codes[1].unique().tolist())
    rows = network.quantize_aesthetic.embedding.weight.grad.abs().sum(dim=1)
    assert set(rows.nonzero().flatten().tolist()) == used


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"fusion": "attention"}])
def test_a_mixed_batch_equals_its_images_one_by_one(changes, autoencoder, images):
    network = autoencoder(**changes).double()
    images, scores = images.double(), torch.tensor([0.95, 0.5, 0.9], dtype=torch.float64)
    together = network.reconstruct(images, scores)
    assert together.uses_hq.tolist() == [True, False, False]
    for index in range(3):
        alone = network.reconstruct(images[index : index + 1], scores[index : index + 1])
        torch.testing.assert_close(together.image[index], alone.image[0])
        torch.testing.assert_close(together.common.loss[index], alone.common.loss[0])
        torch.testing.assert_close(together.hq.loss[index], alone.hq.loss[0])


@torch.no_grad()
def test_always_uses_the_hq_codebook_whatever_the_score(autoencoder, images):
    network = autoencoder()
    always = network.reconstruct(images, hq="always")
    assert torch.equal(always.image, network.reconstruct(images, 0.99).image)
    assert (always.image - network.reconstruct(images, 0.5).image).abs().max() > 1e-3


@torch.no_grad()
def test_one_codebook_needs_no_score(autoencoder, images):
    made = autoencoder(hq_codebook=0, threshold=0.5).reconstruct(images)
    assert made.image.shape == images.shape
    assert made.hq is None


@torch.no_grad()
def test_an_autoencoder_takes_other_sizes(autoencoder):
    image = torch.rand(1, 3, 40, 72) * 2 - 1
    assert autoencoder().reconstruct(image, 0.9).image.shape == image.shape


@pytest.mark.parametrize(
    ("shape", "keywords", "said"),
    [
        ((1, 3, 62, 64), {"score": 0.9}, "multiples of 4"),
        ((1, 3, 64, 64), {}, "needs scores"),
        ((1, 3, 64, 64), {"score": float("nan")}, "NaN"),
        ((1, 3, 64, 64), {"score": [0.1, 0.2]}, "for 1 images"),
        ((1, 3, 64, 64), {"hq": "never"}, "'never'"),
    ],
)
def test_what_stage_1_cannot_take_is_refused(shape, keywords, said, autoencoder):
    with pytest.raises(IQPIRError, match=said):
        autoencoder().reconstruct(torch.zeros(shape), **keywords)


def fusion(switch: str):
    torch.manual_seed(0)
    made = AttentionFusion(32, 8, switch).double()
    torch.nn.init.normal_(made.norm2.bias)
    return made, torch.randn(2, 32, 3, 5, dtype=torch.float64), torch.randn(2, 32, 3, 5, dtype=torch.float64)


@torch.no_grad()
def test_attention_fusion_equals_torchs_multi_head_attention():
    made, common, hq = fusion("sample")
    reference = torch.nn.MultiheadAttention(32, 8, batch_first=True).double()
    projections = [made.q, made.k, made.v]
    reference.in_proj_weight.copy_(torch.cat([p.weight.flatten(1) for p in projections]))
    reference.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
    reference.out_proj.weight.copy_(made.proj_out.weight.flatten(1))
    reference.out_proj.bias.copy_(made.proj_out.bias)
    query, other = (part.flatten(2).transpose(1, 2) for part in (made.norm1(common), made.norm2(hq)))
    for uses_hq, context in ((True, other), (False, query)):
        attended = reference(query, context, context)[0].transpose(1, 2).view(common.shape)
        torch.testing.assert_close(made(common, hq, torch.tensor([uses_hq] * 2)), common + attended)


@torch.no_grad()
def test_attention_fusion_switches_per_image_as_printed_or_per_batch_as_the_authors():
    made, common, hq = fusion("sample")
    mixed, none = torch.tensor([True, False]), torch.tensor([False, False])
    torch.testing.assert_close(made(common, hq, mixed)[1], made(common, hq, none)[1])
    made.switch = "batch"
    torch.testing.assert_close(made(common, hq, none)[1], made(common, torch.zeros_like(hq), none)[1])
    # In the authors' code the second image attends to an HQ+ latent of zeros because the first one has some.
    zeroed = torch.stack([hq[0], torch.zeros_like(hq[1])])
    torch.testing.assert_close(made(common, hq, mixed), made(common, zeroed, torch.tensor([True, True])))
    assert (made(common, hq, mixed)[1] - made(common, hq, none)[1]).abs().max() > 1e-3


def test_one_loss_for_both_codebooks_is_that_of_their_fused_codes(autoencoder, images):
    network = autoencoder(vq_on="sum", alpha=0.8, beta=0.25, threshold=0.5)
    made = network.reconstruct(images[:2], torch.tensor([0.9, 0.1]))
    assert made.hq is not None and made.hq.loss.tolist() == [0.0, 0.0]
    common, hq = (
        book.embedding.weight[codes].permute(0, 3, 1, 2)
        for book, codes in ((network.quantize, made.common.codes), (network.quantize_aesthetic, made.hq.codes))
    )
    fused = common + 0.8 * hq * torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)  # Eq. 1; at or below the threshold one book
    torch.testing.assert_close(made.common.loss, 1.25 * (made.latent - fused).square().mean(dim=(1, 2, 3)))
    made.common.loss[1].backward(retain_graph=True)
    assert network.quantize_aesthetic.embedding.weight.grad.abs().max() == 0
    network.zero_grad()
    made.common.loss[0].backward()
    assert network.quantize_aesthetic.embedding.weight.grad.abs().max() > 0
    assert network.quantize.embedding.weight.grad.abs().max() > 0


def test_the_hq_codebook_may_quantise_what_the_common_one_leaves(autoencoder, images):
    network = autoencoder(hq_of="residual")
    made = network.reconstruct(images[:2], hq="always")
    left = (made.latent - network.quantize.embedding.weight[made.common.codes].permute(0, 3, 1, 2)).detach()
    points = left.permute(0, 2, 3, 1).reshape(-1, left.shape[1])
    nearest = torch.cdist(points, network.quantize_aesthetic.embedding.weight).argmin(dim=1)
    assert made.hq is not None and torch.equal(made.hq.codes.flatten(), nearest)
    both = gt_codes(network, images[:2])
    assert torch.equal(both[..., 0], made.hq.codes.flatten(1)) and torch.equal(
        both[..., 1], made.common.codes.flatten(1)
    )
    plain = autoencoder().reconstruct(images[:2], hq="always")
    assert plain.hq is not None and not torch.equal(plain.hq.codes, made.hq.codes)
