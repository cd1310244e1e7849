import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from nsgauge.models.fusion import Fusion, FusionSettings
from nsgauge.models.noise import FeatureNoise

ROWS, SLOTS = 3, 4
ROLES = torch.tensor([[0, 1, 1, -1], [3, -1, -1, -1], [0, 1, 2, 3]])
ORDINALS = torch.tensor([[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 5]])
PRESENT = torch.tensor([True, False, True])


@pytest.fixture
def fusion() -> Fusion:
    settings = FusionSettings(width=16, layers=2, heads=2)
    return Fusion(
        settings, image_width=12, image_tokens=5, text_width=8, text_noise=0.0, ordinals=3
    ).eval()


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


IMAGE, TEXT = draw(ROWS, 5, 12, seed=0), draw(ROWS, SLOTS, 8, seed=1)


@torch.inference_mode()
def fuse(
    fusion: Fusion,
    *,
    image: Tensor = IMAGE,
    text: Tensor = TEXT,
    roles: Tensor = ROLES,
    ordinals: Tensor = ORDINALS,
) -> Tensor:
    fused: Tensor = fusion(image, image_present=PRESENT, text=text, roles=roles, ordinals=ordinals)
    return fused


def changed_rows(before: Tensor, after: Tensor) -> list[int]:
    return torch.nonzero((before - after).abs().amax(dim=1) > 1e-6).flatten().tolist()


def test_a_row_without_an_image_ignores_the_images_values(fusion):
    image = IMAGE + draw(*IMAGE.shape, seed=2)
    # Every row's image changed; row 1 has none.
    assert changed_rows(fuse(fusion), fuse(fusion, image=image)) == [0, 2]


def test_no_image_isnt_a_blank_image(fusion):
    with torch.inference_mode():
        blank = fusion(
            torch.zeros_like(IMAGE),
            image_present=torch.tensor([True, True, True]),
            text=TEXT,
            roles=ROLES,
            ordinals=ORDINALS,
        )
    assert 1 in changed_rows(fuse(fusion), blank)


def test_unused_slots_have_no_influence(fusion):
    noise = draw(*TEXT.shape, seed=3) * (ROLES < 0).unsqueeze(-1)
    ordinals = torch.where(ROLES < 0, 2, ORDINALS)
    before = fuse(fusion)
    assert changed_rows(before, fuse(fusion, text=TEXT + noise, ordinals=ordinals)) == []
    wider = torch.cat([TEXT, draw(ROWS, 2, 8, seed=4)], dim=1)
    more = {
        "roles": torch.cat([ROLES, torch.full((ROWS, 2), -1)], dim=1),
        "ordinals": torch.cat([ORDINALS, torch.zeros(ROWS, 2, dtype=torch.int64)], dim=1),
    }
    assert changed_rows(before, fuse(fusion, text=wider, **more)) == []


def test_every_used_slot_has_influence(fusion):
    for row, slot in torch.nonzero(ROLES >= 0).tolist():
        text = TEXT.clone()
        text[row, slot] += draw(8, seed=5)
        assert changed_rows(fuse(fusion), fuse(fusion, text=text)) == [row]


def test_role_and_ordinal_count_and_late_ordinals_share_the_last_embedding(fusion):
    roles, ordinals = ROLES.clone(), ORDINALS.clone()
    roles[0, 0] = 2
    assert changed_rows(fuse(fusion), fuse(fusion, roles=roles)) == [0]
    ordinals[0, 0] = 1
    assert changed_rows(fuse(fusion), fuse(fusion, ordinals=ordinals)) == [0]
    late = ORDINALS.clone()
    late[2, 3] = 2
    assert changed_rows(fuse(fusion), fuse(fusion, ordinals=late)) == []


def test_rows_dont_influence_each_other(fusion):
    order = torch.tensor([2, 0, 1])
    with torch.inference_mode():
        shuffled = fusion(
            IMAGE[order],
            image_present=PRESENT[order],
            text=TEXT[order],
            roles=ROLES[order],
            ordinals=ORDINALS[order],
        )
    assert changed_rows(fuse(fusion)[order], shuffled) == []


def test_noise_is_for_training_alone():
    noise = FeatureNoise(0.5)
    vectors = torch.zeros(4000, 5)
    assert noise.eval()(vectors) is vectors
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noisy = noise.train()(vectors)
    assert float(noisy.std()) == pytest.approx(0.5, abs=0.02)
    assert FeatureNoise(0.0).train()(vectors) is vectors


@pytest.mark.parametrize(
    "fault", [{"width": 30, "heads": 4}, {"dropout": 1.0}, {"feature_noise": -1}, {"depth": 2}]
)
def test_sizes_that_dont_fit_are_refused(fault):
    with pytest.raises(ValidationError):
        FusionSettings.model_validate(fault)
