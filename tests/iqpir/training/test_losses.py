"""Perceptual terms whose networks are not at hand: their arithmetic, with networks of random weights."""

from __future__ import annotations

import pytest
import torch

from iqpir.training.losses import VGG19Features


@pytest.fixture(scope="module")
def features() -> VGG19Features:
    torch.manual_seed(0)
    return VGG19Features(torch.device("cpu"), weights=None)


def test_features_are_those_of_the_last_convolution_of_the_fifth_block(features: VGG19Features) -> None:
    from torchvision.models import vgg19

    convolutions = [each for each in features.network if isinstance(each, torch.nn.Conv2d)]
    assert len(convolutions) == 16 and convolutions[-1] is features.network[-1]
    torch.manual_seed(0)
    whole = vgg19(weights=None).features
    images, others = torch.rand(1, 3, 32, 32) * 2 - 1, torch.rand(1, 3, 32, 32) * 2 - 1
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    maps = [((each + 1) / 2 - mean) / std for each in (images, others)]
    for layer in list(whole)[:35]:
        maps = [layer(each.clone()) for each in maps]
    torch.testing.assert_close(features(images, others), (maps[0] - maps[1]).square().mean())


def test_equal_images_cost_nothing_and_others_have_a_gradient(features: VGG19Features) -> None:
    target = torch.rand(1, 3, 32, 32) * 2 - 1
    assert float(features(target, target)) == 0
    restored = torch.zeros(1, 3, 32, 32, requires_grad=True)
    features(restored, target).backward()
    assert restored.grad is not None and restored.grad.abs().max() > 0
    assert not any(each.requires_grad for each in features.parameters())
