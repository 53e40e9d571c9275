"""Whole photographs: faces are aligned by their five points, restored, and put back where they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iqpir.errors import IQPIRError
from iqpir.faces import FILES, FaceRestorer

POINTS = np.array([[192.98138, 239.94708], [318.90277, 240.1936], [256.63416, 314.01935], [201.26117, 371.41043],
                   [313.08905, 371.15118]])  # fmt: skip
"""Where FFHQ has eyes, nose and corners of the mouth in a square of 512."""


class Brighten:
    """Stands for a restorer: adds 20 levels."""

    side = 512

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def restore(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        return (images + 20 / 255).clamp(0, 1)


class Detector:
    """Finds a face whose points are FFHQ's, halved and moved."""

    def __init__(self, faces: int = 1) -> None:
        self.faces = faces

    def detect_faces(self, image: np.ndarray, threshold: float) -> np.ndarray:
        scale = min(image.shape[:2]) / 400  # the helper resizes the shorter side to 640 before it asks
        points = (POINTS / 2 + [100, 80]) * scale
        row = np.concatenate([[100, 80, 356, 336], [0.99], points.ravel()])
        return np.stack([row] * self.faces) if self.faces else np.zeros((0, 15))


class Parser(torch.nn.Module):
    """Says that everything is skin, which facexlib's mask keeps but for ten rows and columns at the border."""

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        logits = torch.zeros(1, 19, 512, 512)
        logits[:, 1] = 1
        return (logits,)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    from facexlib.utils import face_restoration_helper

    for name in FILES:
        torch.save({"w": torch.zeros(1)}, tmp_path / name)
    monkeypatch.setattr(face_restoration_helper, "init_detection_model", lambda *_, **__: Detector())
    monkeypatch.setattr(face_restoration_helper, "init_parsing_model", lambda *_, **__: Parser())
    return tmp_path


@pytest.fixture
def photograph():
    yy, xx = np.mgrid[0:400, 0:500]
    return np.stack([xx / 4, yy / 4, (xx + yy) / 8], axis=2).astype(np.uint8) + 60


def test_the_face_is_restored_in_place_and_the_rest_left_alone(folder, photograph):
    brighten = Brighten()
    restored, faces = FaceRestorer(brighten, folder).restore(photograph)
    assert faces == 1 and restored.shape == photograph.shape
    # The points are FFHQ's at half size from (100, 80) on, so the aligned square is that region doubled.
    (seen,) = brighten.seen
    centre = seen[0].permute(1, 2, 0).numpy()[256, 256] * 255
    np.testing.assert_allclose(centre, photograph[80 + 128, 100 + 128], atol=1.5)
    change = restored.astype(int) - photograph
    assert np.abs(change[80 + 128, 100 + 128] - 20).max() <= 2
    assert np.abs(change[:60]).max() <= 1 and np.abs(change[:, 400:]).max() <= 1


def test_without_a_face_nothing_changes(folder, photograph, monkeypatch):
    restorer = FaceRestorer(Brighten(), folder)
    restorer._helper.face_det = Detector(faces=0)
    restored, faces = restorer.restore(photograph)
    assert faces == 0 and np.abs(restored.astype(int) - photograph).max() <= 1


def test_upscaling_enlarges_the_whole_photograph(folder, photograph):
    restored, _ = FaceRestorer(Brighten(), folder, upscale=2).restore(photograph)
    assert restored.shape == (800, 1000, 3)


def test_a_missing_file_is_named_with_its_address(tmp_path):
    with pytest.raises(IQPIRError, match=r"detection_Resnet50_Final\.pth in .*: download https://github\.com/xinntao"):
        FaceRestorer(Brighten(), tmp_path)


def test_a_file_with_code_is_refused(folder):
    import pickle

    class Evil:
        def __reduce__(self):
            return (print, ("executed",))

    (folder / "parsing_parsenet.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(IQPIRError, match=r"parsing_parsenet\.pth cannot be read as weights"):
        FaceRestorer(Brighten(), folder)
