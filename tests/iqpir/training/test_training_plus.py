"""Fine-tuning a host with a score: same batches for both sides, the host's weights start where they were published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image
from torch import nn

from iqpir.cli import group
from iqpir.errors import IQPIRError
from iqpir.plus import ScoreConditioner, Site
from iqpir.training import hosts
from iqpir.training.common import Data
from iqpir.training.paired_folders import GeneratedPairs, Pairs
from iqpir.training.plus import PlusSettings, train_plus


class Gain(nn.Module):
    """Brightens by one learned factor per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.gain.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, image):
        return self.gain(image)


@pytest.fixture
def folders(tmp_path) -> Path:
    """Twelve dark photographs; half of the GTs are twice as bright and good, half are dim and bad."""
    draw = np.random.default_rng(0)
    rows = ["imagename,score"]
    for index in range(12):
        good = index % 2 == 0
        low = draw.integers(20, 60, (32, 36, 3)).astype(np.uint8)
        for kind, pixels in (("low", low), ("high", low * (4 if good else 2))):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / kind / f"{index:02d}.png")
        rows.append(f"{index:02d}.png,{0.95 if good else 0.05}")
    (tmp_path / "scores.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "plus.yaml").write_text(
        "host: test:gain\nsites: [{module: gain, kind: film, channels: 3}]\nlq: low\ngt: high\nscores: scores.csv\n"
        "steps: 120\nbatch: 4\ncrop: 16\nrate: 0.02\nrows_rate: 0.02\ndrop: 0.0\n"
    )
    return tmp_path


def pairs_of(folder: Path) -> Pairs:
    return Pairs(folder / "low", folder / "high", {f"{i:02d}": 0.95 if i % 2 == 0 else 0.05 for i in range(12)})


def test_the_score_tells_two_kinds_of_truth_apart_and_the_control_cannot(folders):
    settings = PlusSettings.load(folders / "plus.yaml")
    trained = train_plus(Gain(), settings, pairs_of(folders))
    image = torch.full((1, 3, 8, 8), 0.15)
    bright, dim = (float((trained.plus(image, score=score) / image).mean()) for score in (0.95, 0.05))
    assert bright == pytest.approx(4, rel=0.1) and dim == pytest.approx(2, rel=0.1)
    between = float((trained.control(image, score=0.95) / image).mean())
    assert torch.equal(trained.control(image, score=0.95), trained.control(image, score=0.05))
    assert 1.9 < between < 4.1
    plus, control = (np.mean([pair[side] for pair in trained.losses[-20:]]) for side in (0, 1))
    assert plus < 0.3 * control


def test_batches_are_the_same_crops_of_both_images_and_repeat_with_the_seed(folders):
    pairs = pairs_of(folders)
    first, again = (list(pairs.batches(6, 4, 16, seed=3)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.lq, other.lq) and torch.equal(one.scores, other.scores)
        factor = torch.where(one.scores > 0.5, 4.0, 2.0)[:, None, None, None]
        assert torch.allclose(one.lq * factor, one.gt, atol=1e-6)
    seen = torch.cat([batch.scores for batch in first[:3]])
    assert len(seen) == 12 and int((seen > 0.5).sum()) == 6  # every image once before any twice
    assert not torch.equal(first[0].lq, next(iter(pairs.batches(1, 4, 16, seed=4))).lq)


def test_a_rate_of_zero_leaves_the_host_as_it_was(folders):
    settings = PlusSettings(
        "test:gain", sites=(Site("gain", "film", 3),), steps=5, batch=2, crop=8, rate=0.0, rows_rate=0.1
    )
    trained = train_plus(Gain(), settings, pairs_of(folders))
    assert torch.equal(trained.plus.host.gain.weight, Gain().gain.weight)
    assert trained.plus.score[0].weight.abs().max() > 0


class Constant(nn.Module):
    """Gray everywhere, whatever it is given, so that L1 against white has the gradient -1 at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.gray = nn.Conv2d(3, 3, 1, bias=True)
        nn.init.zeros_(self.gray.weight)
        nn.init.zeros_(self.gray.bias)

    def forward(self, image):
        return self.gray(torch.zeros_like(image))


class White:
    """Batches of black images with white targets."""

    def batches(self, count, batch, crop, seed):
        for _ in range(count):
            yield torch.zeros(batch, 3, crop, crop), torch.ones(batch, 3, crop, crop), torch.full((batch,), 0.5)


@pytest.mark.parametrize(("schedule", "moved"), [("constant", 8 * 0.01), ("cosine", (8 + 1) / 2 * 0.01)])
def test_a_cosine_takes_both_rates_to_zero(schedule, moved):
    """Under a gradient that stays, a step of Adam is the rate; the sum of (1 + cos πk/N)/2 over k < N is (N + 1)/2."""
    sites = (Site("gray", "add", 3),)
    settings = PlusSettings(
        "test:gray", sites=sites, steps=8, batch=2, crop=4, rate=0.01, rows_rate=0.01, drop=0.0, schedule=schedule
    )
    trained = train_plus(Constant(), settings, White())
    for side in (trained.plus, trained.control):
        assert side.host.gray.bias.detach().numpy() == pytest.approx(moved, rel=1e-4)
    row = trained.plus.score[0].weight.detach()
    assert row[5].numpy() == pytest.approx(moved, rel=1e-4) and not row[:5].any()


def test_decibels_are_the_mean_logarithm_of_each_images_error(folders):
    """Of the first batch before anything moved, by NumPy; the floor is the squared error of 34 dB."""
    pairs = pairs_of(folders)
    sites = (Site("gain", "film", 3),)
    settings = PlusSettings(
        "test:gain", sites=sites, steps=1, batch=4, crop=16, rate=0.0, rows_rate=0.0, loss="decibels"
    )
    trained = train_plus(Gain(), settings, pairs)
    (batch,) = pairs.batches(1, 4, 16, settings.seed)
    errors = ((batch.lq - batch.gt).numpy().astype(float) ** 2).mean(axis=(1, 2, 3))
    assert len(set(errors.round(4))) > 1
    assert trained.losses[0] == pytest.approx([np.log(np.sqrt(errors + 10**-3.4)).mean()] * 2, abs=2e-4)


class Normed(Gain):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image):
        return self.norm(self.gain(image))


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_norms_keep_their_statistics_and_train_with_them(folders, freeze):
    settings = PlusSettings(
        "test:normed", sites=(Site("gain", "film", 3),), steps=3, batch=4, crop=16, rate=0.01, freeze_norm=freeze
    )
    trained = train_plus(Normed(), settings, pairs_of(folders))
    (batch,) = pairs_of(folders).batches(1, 4, 16, settings.seed)
    as_used = float((Normed().eval()(batch.lq) - batch.gt).abs().mean())  # both sides begin as the host
    for place, side in enumerate((trained.plus, trained.control)):
        assert bool((side.host.norm.running_mean == 0).all()) == freeze
        assert (side.host.norm.weight != 1).all() and not side.training
        assert (abs(trained.losses[0][place] - as_used) < 1e-5) == freeze


def test_the_command_writes_both_sides_and_the_losses(folders, monkeypatch):
    monkeypatch.setattr("iqpir.training.hosts.load_host", lambda name, *_, **__: hosts.Host(Gain()))
    config, out = str(folders / "plus.yaml"), folders / "out"
    done = CliRunner().invoke(group, ["train", "plus", config, "-o", str(out), "--steps", "30"], standalone_mode=False)
    assert done.exception is None and "with the score" in done.output, done
    assert len((out / "losses.csv").read_text().splitlines()) == 31
    image = torch.full((1, 3, 8, 8), 0.15)
    plus, control = (ScoreConditioner.load(Gain(), out / f"{name}.safetensors") for name in ("plus", "control"))
    assert not torch.equal(plus(image, score=0.95), plus(image, score=0.05))
    assert torch.equal(control(image, score=0.95), control(image, score=0.05))


@pytest.mark.parametrize(
    "before, after, message",
    [
        ("steps: 120", "stepz: 120", "unknown key 'stepz'; did you mean 'steps'"),
        ("steps: 120", "steps: many", "steps is 'many'"),
        ("host: test:gain\n", "", "the key 'host' is missing"),
        ("channels: 3", "channel: 3", "a site has the keys"),
        ("sites: [{module: gain, kind: film, channels: 3}]\n", "", "has no sites of its own"),
        ("kind: film", "kind: flim", "did you mean 'film'"),
        ("lq: low", "lq: [", "plus.yaml:"),
        ("rate: 0.02\n", "rate: -1\n", "rate is -1"),
        (
            "rate: 0.02\n",
            "schedule: cosin\n",
            "it is one of constant, cosine; did you mean 'cosine'",
        ),
        ("rate: 0.02\n", "loss: [l1]\n", "loss is ['l1']; it is one of l1, decibels"),
        ("rate: 0.02\n", "freeze_norm: 1\n", "freeze_norm is 1; it is true or false"),
        ("rate: 0.02\n", "smooth: 'no'\n", "smooth is 'no'; it is true or false"),
        ("gt: high", "gt: absent", "does not exist"),
        ("host: test:gain", "host: nowhere:x", "no host 'nowhere:x'"),
        ("crop: 16", "crop: 33", "a crop of 33 does not fit"),
        ("crop: 16", "crop: 16\nseed: -1", "seed is -1"),
        ("drop: 0.0", "drop: lots", "drop is 'lots'"),
        ("drop: 0.0", "drop: 0.0\ncrop: 8", ": key 'crop' is written twice"),
        ("scores: scores.csv", "scores: ~", "scores is None; it must be a path"),
        ("channels: 3", "channels: '3'", "channels is '3'; it must be a positive whole number"),
        ("steps: 120", "steps: !!python/object/apply:os.system ['touch executed']", "could not determine"),
    ],
)
def test_wrong_settings_are_one_line(folders, monkeypatch, before, after, message):
    monkeypatch.chdir(folders)
    if "nowhere" not in after:
        monkeypatch.setattr("iqpir.training.hosts.load_host", lambda name, *_, **__: hosts.Host(Gain()))
    config = folders / "plus.yaml"
    config.write_text(config.read_text().replace(before, after, 1))
    done = CliRunner().invoke(group, ["train", "plus", str(config)], standalone_mode=False)
    assert isinstance(done.exception, IQPIRError) and message in str(done.exception), done
    assert "\n" not in str(done.exception) and not (folders / "executed").exists()


def test_missing_partners_scores_and_sizes_are_named(folders):
    scores = {f"{i:02d}": 0.5 for i in range(12)}
    with pytest.raises(IQPIRError, match="no score for 03"):
        Pairs(folders / "low", folders / "high", {name: 0.5 for name in scores if name != "03"})
    (folders / "low/05.png").unlink()
    with pytest.raises(IQPIRError, match="no LQ image for 05"):
        Pairs(folders / "low", folders / "high", scores)
    Image.new("RGB", (9, 9)).save(folders / "low/05.png")
    with pytest.raises(IQPIRError, match="05: LQ is 9×9, GT 36×32"):
        Pairs(folders / "low", folders / "high", scores)


def test_scores_beyond_one_and_two_images_of_one_name_are_refused(folders):
    with pytest.raises(IQPIRError, match=r"scores from 0\.5 to 70, and training takes \[0,1\]"):
        Pairs(folders / "low", folders / "high", {f"{i:02d}": 70 if i == 3 else 0.5 for i in range(12)})
    Image.new("RGB", (36, 32)).save(folders / "high/03.bmp")
    with pytest.raises(IQPIRError, match=r"03\.bmp and 03\.png: two images of one name"):
        pairs_of(folders)


def test_the_photographs_of_the_built_in_sets_are_not_trained_on(folders):
    import skimage

    astronaut = Path(skimage.__file__).parent / "data" / "astronaut.png"
    for kind in ("low", "high"):
        (folders / kind / "03.png").write_bytes(astronaut.read_bytes())
    with pytest.raises(IQPIRError, match="03"):
        pairs_of(folders)


def test_a_folder_keeps_the_networks_of_other_settings(folders, monkeypatch):
    monkeypatch.setattr("iqpir.training.hosts.load_host", lambda name, *_, **__: hosts.Host(Gain()))
    config, out = folders / "plus.yaml", folders / "out"

    def train():
        arguments = ["train", "plus", str(config), "-o", str(out), "--steps", "2"]
        return CliRunner().invoke(group, arguments, standalone_mode=False).exception

    assert train() is None and train() is None
    kept = (out / "plus.safetensors").read_bytes()
    config.write_text(config.read_text().replace("rate: 0.02\n", "rate: 0.01\n", 1))
    refused = train()
    assert isinstance(refused, IQPIRError) and "holds a network with another rate" in str(refused)
    assert (out / "plus.safetensors").read_bytes() == kept
    out = folders / "plus.yaml"  # a file: said before the first step
    assert "cannot be written to" in str(train())


def test_a_folder_of_generated_pairs_is_the_settings_files(tmp_path: Path):
    file = tmp_path / "plus.yaml"
    file.write_text("host: test:gain\ndata: {source: photographs, degradation: scene, scores: target}\n")
    settings = PlusSettings.load(file)
    assert settings.data is not None and settings.data.source == str(tmp_path / "photographs")


def test_the_harness_offers_its_networks_as_hosts(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    with pytest.raises(IQPIRError, match=r"weights/sci/medium\.pt.*bench fetch sci-medium"):
        hosts.load_host("bench:sci-medium")
    with pytest.raises(IQPIRError, match="a host is a network"):
        hosts.load_host("bench:gamma")


DATA = {"source": "generated", "count": 64, "scores": "target", "degradation": "scene"}


def test_generated_pairs_have_the_scores_of_their_targets_and_the_same_seed_gives_the_same():
    pairs = GeneratedPairs(Data.from_dict(DATA), 24)
    first, again, other = (list(pairs.batches(2, 3, 24, seed)) for seed in (0, 0, 1))
    assert [tuple(batch.lq.shape) for batch in first] == [(3, 3, 24, 24)] * 2
    assert all(torch.equal(one, two) for a, b in zip(first, again, strict=True) for one, two in zip(a, b, strict=True))
    assert not torch.equal(first[0].lq, other[0].lq)
    scores = torch.cat([batch.scores for batch in first])
    assert bool(((scores >= 0) & (scores <= 1)).all()) and len(scores.unique()) == 6


def test_settings_take_generated_pairs_in_place_of_folders(tmp_path: Path):
    path = tmp_path / "plus.yaml"

    def load(**changes: object) -> PlusSettings:
        path.write_text(yaml.safe_dump({"host": "bench:sci-medium", "data": {**DATA, "cache": "sheets"}, **changes}))
        return PlusSettings.load(path)

    settings = load()
    assert settings.data is not None and settings.data.cache == str(tmp_path / "sheets") and settings.lq == ""
    with pytest.raises(IQPIRError, match=r"plus\.yaml: data makes pairs with scores of their own: leave out lq, gt"):
        load(lq="low")
    with pytest.raises(IQPIRError, match=r"data\.scores: only target gives the targets of a pair a score"):
        load(data={**DATA, "scores": "flaw", "degradation": "low-light"})
    with pytest.raises(IQPIRError, match=r"unknown key 'data\.cuont'; did you mean 'count'"):
        load(data={"cuont": 3})
