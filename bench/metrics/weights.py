"""Weight files of metrics: how signatures name them, and what is known of them before they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError, MissingFile
from bench.fetch.assets import Asset


@dataclass(frozen=True)
class Weight:
    """A weight file as signatures name it."""

    asset: Asset

    @property
    def tag(self) -> str:
        """Eight hex digits that tell the file from another one, or `unpinned`."""
        return (self.asset.sha256 or self.asset.prefix or self.asset.expected() or "unpinned")[:8]


def verified(weight: Weight) -> Path:
    """The file of a weight, its hash held against all that is known of it."""
    asset = weight.asset
    if not asset.path.is_file():
        known = asset.expected() or (f"{asset.prefix}…" if asset.prefix else "not published")
        raise MissingFile(
            f"{asset.owner} needs {asset.file} ({asset.url}, sha256 {known}), not at {asset.path}: "
            f"bench fetch {asset.owner}"
        )
    if asset.prefix is not None and not asset.digest().startswith(asset.prefix):
        raise BenchError(
            f"{asset.owner}: {asset.path} has sha256 {asset.digest()}, which should begin with {asset.prefix}: "
            f"bench fetch {asset.owner} brings the right one"
        )
    whole = asset.expected() is not None or asset.prefix is None
    return asset.require_verified() if whole else asset.path
