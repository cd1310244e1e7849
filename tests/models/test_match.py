import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from nsgauge.models.fusion import Fusion, FusionSettings
from nsgauge.models.match import Match

ROWS, SLOTS = 3, 2


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


IMAGE, TEXT = draw(ROWS, 5, 12, seed=0), draw(ROWS, SLOTS, 8, seed=1)
ROLES = torch.tensor([[0, 1], [0, 1], [3, -1]])
PRESENT = torch.tensor([True, False, True])


@pytest.fixture
def match() -> Match:
    torch.manual_seed(0)
    return Match(image_width=12, text_width=8, width=6, fused_width=16)


@pytest.fixture
def fusion() -> Fusion:
    torch.manual_seed(0)
    return Fusion(
        FusionSettings(width=16, layers=1, heads=2, match_width=6),
        image_width=12,
        image_tokens=5,
        text_width=8,
        text_noise=0.0,
        ordinals=3,
    ).eval()


def test_what_a_window_gets_is_its_scaled_cosine_with_the_picture_along_one_direction(match):
    added = match(IMAGE[:, 0], text=TEXT)
    for row in range(ROWS):
        for slot in range(SLOTS):
            cosine = cosine_similarity(
                match.from_image(IMAGE[row, 0]), match.from_text(TEXT[row, slot]), dim=0
            )
            wanted = cosine * match.log_scale.exp() * match.direction
            torch.testing.assert_close(added[row, slot], wanted)


def test_contrast_holds_the_same_cosines_for_every_pair(match):
    logits = match.contrast(IMAGE[:, 0], text=TEXT[:, 0])
    pairs = [[match(i[None], text=t[None, None])[0, 0] for t in TEXT[:, 0]] for i in IMAGE[:, 0]]
    along = match.direction / match.direction.square().sum()
    wanted = torch.stack([torch.stack([pair @ along for pair in row]) for row in pairs])
    torch.testing.assert_close(logits, wanted)


def test_lengths_of_the_towers_vectors_dont_count(match):
    # LayerNorm's epsilon leaves a trace.
    torch.testing.assert_close(
        match(IMAGE[:, 0], text=TEXT), match(IMAGE[:, 0] * 7, text=TEXT * 0.5), rtol=1e-3, atol=1e-4
    )


@torch.inference_mode()
def fuse(fusion: Fusion) -> Tensor:
    fused: Tensor = fusion(
        IMAGE, image_present=PRESENT, text=TEXT, roles=ROLES, ordinals=torch.zeros_like(ROLES)
    )
    return fused


def test_rows_without_a_picture_have_no_match(fusion):
    before = fuse(fusion)
    nn.init.constant_(fusion.match.direction, 3.0)
    changed = (fuse(fusion) - before).abs().amax(dim=1) > 1e-6
    assert changed.tolist() == PRESENT.tolist()


def test_a_fusion_has_no_match_unless_it_is_asked_for():
    plain = Fusion(
        FusionSettings(width=16, heads=2),
        image_width=12,
        image_tokens=5,
        text_width=8,
        text_noise=0.0,
        ordinals=3,
    )
    assert plain.match is None
    assert not [name for name, _ in plain.named_parameters() if "match" in name]
