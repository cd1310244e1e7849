import copy

import torch

from nsgauge.models.towers.pair import Towers


@torch.inference_mode()
def test_normalisation_is_per_channel(build_towers):
    tower = build_towers().image
    pixels = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    seen = []
    tower.patches.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    tower(pixels)
    # (1 - mean) / std by hand, for means .5 .4 .3 and deviations .5 .6 .7.
    torch.testing.assert_close(seen[0][0, :, 0, 0], torch.tensor([1.0, 1.0, 1.0]))


@torch.inference_mode()
def test_the_pooled_patches_follow_the_pooled_image_row_by_row(build_towers):
    plain, grid = build_towers().image, build_towers(patch_grid=2).image
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), generator=generator, dtype=torch.uint8)
    vectors = grid(pixels)
    assert vectors.shape == (2, 5, 12)
    torch.testing.assert_close(vectors[:, :1], plain(pixels), rtol=0, atol=1e-6)
    _, patches = grid.encode((pixels.float() / 255 - grid.mean) / grid.std)
    areas = [patches[:, :, r : r + 2, c : c + 2].mean((2, 3)) for r in (0, 2) for c in (0, 2)]
    torch.testing.assert_close(vectors[:, 1:], torch.stack(areas, dim=1), rtol=0, atol=1e-6)


@torch.inference_mode()
def test_images_dont_influence_each_other(pocket_towers: Towers, relative_difference):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 3, 224, 224), generator=generator, dtype=torch.uint8)
    alone = torch.cat([pocket_towers.image(pixels[:1]), pocket_towers.image(pixels[1:])])
    assert relative_difference(pocket_towers.image(pixels), reference=alone) <= 1e-5


def test_training_leaves_the_batch_norms_their_pretrained_statistics(pocket_towers: Towers):
    tower = copy.deepcopy(pocket_towers.image)
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    tower.train()
    assert tower.training
    with torch.no_grad():
        tower(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))
    assert all(torch.equal(value, before[name]) for name, value in tower.state_dict().items())
