"""PairLIE, Learning a Simple Low-light Image Enhancer from Paired Low-light Instances (Fu et al., CVPR 2023).

A projection removes what does not fit the Retinex model; illumination L and reflectance R of what is left are estimated
by two more networks of the same shape, and the output is L^ratio · R.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

WIDTH = 64


def estimator(outputs: int) -> nn.Sequential:
    """Five 3×3 convolutions with mirrored borders, ReLU between them, a sigmoid at the end.

    Numbered as in the official file, where padding and activations count too.
    """
    widths = [3, WIDTH, WIDTH, WIDTH, WIDTH, outputs]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index in range(5):
        number = 3 * index + 1
        layers[str(number)] = nn.Conv2d(widths[index], widths[index + 1], 3, padding=1, padding_mode="reflect")
        layers[str(number + 1)] = nn.ReLU() if index < 4 else nn.Sigmoid()
    return nn.Sequential(layers)


class PairLie(nn.Module):
    """The enhanced image in [0,1]; 341,767 parameters, 2×2 pixels or more.

    `ratio` is the exponent of the illumination: 0.2 in the official script, 0.14 for LOL.
    """

    def __init__(self, ratio: float = 0.2) -> None:
        super().__init__()
        self.ratio = ratio
        self.L_net = nn.ModuleDict({"L_net": estimator(1)})
        self.R_net = nn.ModuleDict({"R_net": estimator(3)})
        self.N_net = nn.ModuleDict({"N_net": estimator(3)})

    def forward(self, image: Tensor) -> Tensor:
        clean = self.N_net["N_net"](image)
        illumination, reflectance = self.L_net["L_net"](clean), self.R_net["R_net"](clean)
        return illumination**self.ratio * reflectance
