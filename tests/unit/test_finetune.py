"""Fine-tuning of a backbone, on small pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from contract.progress import Progress, silent
from tests.interruption import cut_off, weights, without_seconds
from tests.painted import Album, colour_blind, painted, png, seeing
from tests.problems import without_content
from training.backbones import Backbone, load_backbone
from training.errors import InputRejected, NotForThisNetwork
from training.evaluate import judge
from training.features import image_features
from training.finetune import Tuned, visual_part
from training.model import Amnl
from training.settings import Finetune, TrainingSettings
from training.train import Fitted, Trainee, fit

SETTINGS = TrainingSettings(
    backbone="tiny", dim=8, epochs=6, batch=256, learning_rate=0.1, backbone_rate=0.01, l2=1e-5, negatives=4
)
TUNED: list[Finetune] = ["fc", "all"]


pytestmark = pytest.mark.usefixtures("one_thread")


def changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def trained(
    finetune: Finetune,
    backbone: Backbone,
    cache: Path,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> tuple[Fitted, float]:
    """A fit on the painted checkerboard, and its AUC on the new tweets."""
    problem, album = painted(seed)
    settings = SETTINGS.model_copy(update={"finetune": finetune, "seed": seed})
    x_TF, tuned = visual_part(finetune, backbone, album.keys, album, cache, silent)
    seen = seeing(problem, x_TF)
    fitted = fit(seen, settings, checkpoint, progress, tuned)
    return fitted, judge(seen.test, fitted.scorer, 0).means["auc"]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("finetune", TUNED)
def test_fine_tuning_learns_to_see_what_the_frozen_backbone_does_not(
    finetune: Finetune, seed: int, tmp_path: Path
) -> None:
    _, frozen = trained("none", colour_blind(), tmp_path, seed)
    _, tuned = trained(finetune, colour_blind(), tmp_path, seed)
    assert frozen < 0.75
    assert tuned > 0.95


@pytest.mark.parametrize(
    ("finetune", "moved"),
    [
        ("none", set()),
        ("fc", {"fc.weight", "fc.bias"}),
        ("all", {"body.0.weight", "body.0.bias", "fc.weight", "fc.bias"}),
    ],
)
def test_what_is_to_be_tuned_moves_and_nothing_else(finetune: Finetune, moved: set[str], tmp_path: Path) -> None:
    backbone = load_backbone("tiny", None)
    before = weights(backbone)
    trained(finetune, backbone, tmp_path)
    assert changed(before, backbone) == moved


@pytest.mark.parametrize("finetune", TUNED)
def test_training_starts_from_the_frozen_backbones_features(finetune: Finetune, tmp_path: Path) -> None:
    _, album = painted(0, tweets=40)
    backbone = load_backbone("tiny", None)
    frozen_TF = image_features(album.keys, album, backbone, tmp_path, silent)
    x_TF, tuned = visual_part(finetune, backbone, album.keys, album, tmp_path, silent)
    assert tuned is not None
    torch.testing.assert_close(x_TF, frozen_TF)
    torch.testing.assert_close(tuned(torch.tensor([7, 3])), frozen_TF[[7, 3]])


def test_activations_that_are_not_kept_give_the_same_gradient(tmp_path: Path) -> None:
    _, album = painted(0, tweets=40)
    backbone = load_backbone("tiny", None)
    _, tuned = visual_part("all", backbone, album.keys, album, tmp_path, silent)
    assert tuned is not None
    gradients = []
    for at_once in (40, 7):
        backbone.zero_grad()
        Tuned(backbone, tuned.inputs, at_once)(torch.arange(40)).square().mean().backward()
        gradients.append([parameter.grad for parameter in backbone.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)


def test_what_is_trained_stays_in_evaluation_mode() -> None:
    layers = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout())
    read_TF = torch.randn(9, 4)
    tuned = Tuned(layers, read_TF.__getitem__, 100)
    before = weights(tuned)
    holder = nn.ModuleList([tuned]).train()
    x_TF = tuned(torch.arange(9))
    assert torch.equal(tuned(torch.arange(9)), x_TF)
    assert changed(before, holder[0]) == set()
    x_TF.sum().backward()
    assert all(parameter.grad is not None for parameter in layers.parameters())


def test_l2_does_not_pull_at_the_backbone(tmp_path: Path) -> None:
    problem, album = painted(0, tweets=40)
    x_TF, tuned = visual_part("all", load_backbone("tiny", None), album.keys, album, tmp_path, silent)
    assert tuned is not None
    seen = seeing(problem, x_TF)
    pairs = Trainee(Amnl(seen, SETTINGS), seen, SETTINGS, np.arange(seen.users), tuned).pairs(
        seen.user_P[:5], seen.tweet_P[:5], seen.tweet_P[5:10, None]
    )
    parameters = [*tuned.parameters()]
    assert set(torch.autograd.grad(pairs.penalty, parameters, allow_unused=True, retain_graph=True)) == {None}
    assert None not in torch.autograd.grad(pairs.positive_B.sum(), parameters)


def test_a_feature_that_is_0_on_all_pictures_at_first_may_come_to_life(tmp_path: Path) -> None:
    backbone = load_backbone("tiny", None)
    state = backbone.state_dict()
    state["fc.weight"][:4] = 0
    state["fc.bias"][:4] = 0
    fitted, _ = trained("fc", backbone, tmp_path)
    scale_F = fitted.model.encoder.feature_scale_F
    assert float(state["fc.weight"][:4].abs().max()) > 0
    assert float(scale_F.max()) <= 10.001 * float(scale_F.median())


@pytest.mark.parametrize("finetune", TUNED)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(finetune: Finetune, tmp_path: Path) -> None:
    whole, cut, resumed = (load_backbone("tiny", None) for _ in range(3))
    expected, auc = trained(finetune, whole, tmp_path / "cache")
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        trained(finetune, cut, tmp_path / "cache", checkpoint=checkpoint, progress=cut_off(3))
    fitted, auc_of_both = trained(finetune, resumed, tmp_path / "cache", checkpoint=checkpoint)
    assert changed(weights(whole), resumed) == set()
    assert changed(weights(expected.model), fitted.model) == set()
    assert without_seconds(fitted.curve) == without_seconds(expected.curve)
    assert auc_of_both == auc


@pytest.mark.parametrize("finetune", TUNED)
def test_a_tuned_backbones_features_are_not_the_cached_ones(finetune: Finetune, tmp_path: Path) -> None:
    _, album = painted(0)
    backbone = load_backbone("tiny", None)
    frozen_TF = image_features(album.keys, album, backbone, tmp_path, silent)
    trained(finetune, backbone, tmp_path)
    x_TF = image_features(album.keys, album, backbone, tmp_path, silent)
    assert not torch.isclose(x_TF, frozen_TF).any(dim=1).all()
    again_TF = image_features(album.keys, album, load_backbone("tiny", None), tmp_path, silent)
    assert torch.equal(again_TF, frozen_TF)


@pytest.mark.parametrize("finetune", TUNED)
@pytest.mark.parametrize("with_part", [True, False])
def test_a_network_without_pictures_cannot_be_fine_tuned_on(
    finetune: Finetune, with_part: bool, tmp_path: Path
) -> None:
    problem, album = painted(0, tweets=40)
    _, tuned = visual_part(finetune, load_backbone("tiny", None), album.keys, album, tmp_path, silent)
    settings = SETTINGS.model_copy(update={"finetune": finetune, "residual": True})
    with pytest.raises(NotForThisNetwork, match=f"--finetune {finetune} needs pictures"):
        fit(without_content(problem), settings, None, silent, tuned if with_part else None)


@pytest.mark.parametrize("finetune", TUNED)
def test_a_damaged_picture_is_named(finetune: Finetune, tmp_path: Path) -> None:
    album = Album([png(np.zeros((32, 32, 3))), b"no picture"])
    with pytest.raises(InputRejected, match=f"picture {album.keys[1]}: image is no JPEG"):
        visual_part(finetune, load_backbone("tiny", None), album.keys, album, tmp_path, silent)


def test_a_picture_that_is_damaged_since_its_features_were_cached_is_named(tmp_path: Path) -> None:
    problem, album = painted(0, tweets=40)
    backbone = load_backbone("tiny", None)
    x_TF, tuned = visual_part("all", backbone, album.keys, album, tmp_path, silent)
    album.lose_all()
    with pytest.raises(InputRejected, match=r"picture \w+ is missing"):
        fit(seeing(problem, x_TF), SETTINGS.model_copy(update={"finetune": "all"}), None, silent, tuned)


def test_a_backbone_without_fully_connected_layers_is_named(tmp_path: Path) -> None:
    _, album = painted(0, tweets=40)
    with pytest.raises(InputRejected, match="--finetune fc: efficientnet_lite0 has no fully connected layers"):
        visual_part("fc", load_backbone("efficientnet_lite0", None), album.keys, album, tmp_path, silent)
    assert [*tmp_path.iterdir()] == []
