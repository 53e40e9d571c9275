"""Whole photographs: find the faces, align each to the square that the network knows, restore it, put it back.

Detection (RetinaFace, ResNet-50), alignment to the five points of FFHQ and pasting by a parsed mask (ParseNet) are
facexlib's. For suites of aligned faces this is neither needed nor wanted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iqpir.errors import IQPIRError, one_line

if TYPE_CHECKING:
    from iqpir.restore import Restorer

FILES = {
    "detection_Resnet50_Final.pth": "https://github.com/xinntao/facexlib/releases/download/v0.1.0/"
    "detection_Resnet50_Final.pth",
    "parsing_parsenet.pth": "https://github.com/xinntao/facexlib/releases/download/v0.2.2/parsing_parsenet.pth",
}
"""Weight files and where their publisher has them; no hash is published."""
LEAST_EYE_DISTANCE = 5.0
"""Pixels between the eyes below which a face is left alone: the authors' limit."""


class FaceRestorer:
    """A restorer for photographs with any number of faces, or none."""

    def __init__(self, restorer: Restorer, weights: Path, *, upscale: int = 1, device: str = "cpu") -> None:
        """`weights`: folder of the two files in `FILES`. `upscale`: size of the output by that of the input, ≥ 1.

        Raises `IQPIRError` for a missing or damaged file; files are read as data only.
        """
        for name, url in FILES.items():
            _check_weights(weights / name, url)
        from facexlib.utils.face_restoration_helper import FaceRestoreHelper

        self.restorer = restorer
        self._helper = FaceRestoreHelper(
            upscale, face_size=restorer.side, use_parse=True, device=device, model_rootpath=str(weights)
        )

    def restore(self, image: np.ndarray) -> tuple[np.ndarray, int]:
        """uint8 RGB [H,W,3] → uint8 RGB [upscale·H, upscale·W, 3] and the number of faces that were restored."""
        import torch

        helper = self._helper
        helper.clean_all()
        helper.read_image(np.ascontiguousarray(image[:, :, ::-1]))
        found = helper.get_face_landmarks_5(resize=640, eye_dist_threshold=LEAST_EYE_DISTANCE)
        helper.align_warp_face()
        for face in helper.cropped_faces:
            given = torch.from_numpy(np.ascontiguousarray(face[:, :, ::-1].transpose(2, 0, 1)))[None] / 255
            restored = self.restorer.restore(given)[0].permute(1, 2, 0).mul(255).round().to(torch.uint8)
            helper.add_restored_face(np.ascontiguousarray(restored.cpu().numpy()[:, :, ::-1]))
        helper.get_inverse_affine()
        pasted = helper.paste_faces_to_input_image()
        return np.ascontiguousarray(pasted[:, :, ::-1]), int(found)


def _check_weights(path: Path, url: str) -> None:
    import torch

    from iqpir.checkpoint import DAMAGED

    if not path.is_file():
        raise IQPIRError(f"restoring whole photographs needs {path.name} in {path.parent}: download {url}")
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        raise IQPIRError(f"{path} cannot be read as weights: {one_line(error, 160)}") from error
