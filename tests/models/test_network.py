import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from nsgauge.models.fusion import FusionSettings
from nsgauge.models.inputs import EncodedWindows, assemble
from nsgauge.models.lora import LoraSettings, load_lora, lora_state
from nsgauge.models.network import Network, NetworkSettings, build_network
from nsgauge.models.prediction import encode_images, encode_windows
from nsgauge.models.row_windows import RowText
from nsgauge.models.towers.packing import Window
from nsgauge.models.windows import RowReader, WindowPolicy

SLOTS = [0, 1, -1, 0]
PIXELS = torch.randint(
    0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
)


@pytest.fixture
def network(build_towers) -> Network:
    """In eval mode, with adapters that do something."""
    lora = LoraSettings(rank=2)
    settings = FusionSettings(width=16, heads=2, feature_noise=0.5)
    built = build_network(
        build_towers(patch_grid=2),
        settings=NetworkSettings(lora=lora, fusion=settings, ordinals=4),
    )
    generator = torch.Generator().manual_seed(1)
    for tower in (built.image_tower, built.text_tower):
        state = lora_state(tower)
        drawn = {k: 0.3 * torch.randn(v.shape, generator=generator) for k, v in state.items()}
        load_lora(tower, state=drawn)
    return built.eval()


@pytest.fixture(scope="session")
def texts(word_tokenizer) -> list[RowText]:
    policy = WindowPolicy(layout="apart", window_tokens=8)
    return RowReader(word_tokenizer, context=32, policy=policy).read(
        ["w1 w2", "w1 w2", "w3", "w4"],
        responses=["w5", "w6 " * 20, "w5", "w7 w8 " * 9],
        captions=[None, None, "w9 w10", None],
    )


@torch.inference_mode()
def logits_of(network: Network, *, texts: list[RowText], pixels: Tensor = PIXELS) -> Tensor:
    logits: Tensor = network(assemble(texts, image_slots=SLOTS, pixels=pixels))
    return logits


def test_four_logits_a_row(network, texts):
    logits = logits_of(network, texts=texts)
    assert logits.shape == (4, 4)
    assert torch.isfinite(logits).all()


def test_rows_dont_influence_each_other(network, texts, relative_difference):
    with torch.inference_mode():
        alone = [
            network(
                assemble(
                    [text],
                    image_slots=[min(slot, 0)],
                    pixels=None if slot < 0 else PIXELS[[slot]],
                )
            )
            for text, slot in zip(texts, SLOTS, strict=True)
        ]
    together = logits_of(network, texts=texts)
    assert relative_difference(together, reference=torch.cat(alone)) <= 1e-5


def test_only_rows_that_show_an_image_depend_on_it(network, texts):
    before = logits_of(network, texts=texts)
    after = logits_of(network, texts=texts, pixels=torch.stack([PIXELS[0], 255 - PIXELS[1]]))
    changed = (before - after).abs().amax(dim=1) > 1e-6
    assert changed.tolist() == [False, True, False, False]


def test_encoded_windows_and_images_give_the_same_logits(network, texts, relative_difference):
    distinct = list({window: None for text in texts for window in text.windows})
    encoded = encode_windows(network.text_tower, windows=distinct[::-1], tokens_per_batch=20)
    features = encode_images(network.image_tower, batches=[PIXELS[:1].numpy(), PIXELS[1:].numpy()])
    read = logits_of(network, texts=texts)
    with torch.inference_mode():
        for windows, images in ((encoded, None), (None, features), (encoded, features)):
            inputs = assemble(
                texts,
                image_slots=SLOTS,
                pixels=PIXELS if images is None else None,
                image_features=images,
                encoded=windows,
            )
            assert relative_difference(network(inputs), reference=read) <= 1e-5


def test_a_window_that_rows_share_is_read_once(texts):
    inputs = assemble(texts, image_slots=SLOTS, pixels=PIXELS)
    distinct = {window for text in texts for window in text.windows}
    assert inputs.packed is not None
    assert len(inputs.packed.lengths) == len(distinct)
    # The first two rows share their prompt, the first and the third their response.
    assert inputs.slots[0, 0] == inputs.slots[1, 0]
    assert inputs.slots[0, 1] == inputs.slots[2, 1]


def test_slots_say_which_window_role_and_number(texts):
    inputs = assemble(texts, image_slots=SLOTS, pixels=PIXELS)
    for row, text in enumerate(texts):
        used = len(text.windows)
        assert inputs.roles[row, :used].tolist() == list(text.roles)
        assert inputs.ordinals[row, :used].tolist() == list(text.ordinals)
        for unused in (inputs.roles[row, used:], inputs.slots[row, used:]):
            assert unused.eq(-1).all()


def test_encoded_windows_come_in_the_order_asked_for():
    first, second = Window((1,), (0,)), Window((2,), (0,))
    vectors = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    encoded = EncodedWindows(index={first: 0, second: 1}, vectors=vectors)
    assert torch.equal(encoded.of([second, first, second]), vectors[[1, 0, 1]])
    with pytest.raises(KeyError):
        encoded.of([Window((3,), (0,))])


@pytest.mark.parametrize(
    ("slots", "pixels", "wanted"),
    [
        ([0, 1, -1], PIXELS, "4 texts but 3 image slots"),
        ([0, 1, -1, 2], PIXELS, "slot 2 points past the 2 images"),
        ([0, -1, -1, -1], None, "slot 0 points past the 0 images"),
    ],
)
def test_rows_without_their_image_are_refused(texts, slots, pixels, wanted):
    with pytest.raises(ValueError, match=wanted):
        assemble(texts, image_slots=slots, pixels=pixels)


def test_a_batch_without_windows_is_refused(network, texts):
    inputs = assemble(texts, image_slots=SLOTS, pixels=PIXELS)
    bare = type(inputs)(
        packed=None,
        window_vectors=None,
        token_vectors=None,
        slots=inputs.slots,
        roles=inputs.roles,
        ordinals=inputs.ordinals,
        image_slots=inputs.image_slots,
        pixels=PIXELS,
        image_features=None,
    )
    with pytest.raises(ValueError, match="windows to read, or their vectors"):
        network(bare)


def test_noise_and_dropout_act_in_training_alone(network, texts):
    assert torch.equal(logits_of(network, texts=texts), logits_of(network, texts=texts))
    network.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(logits_of(network, texts=texts), logits_of(network, texts=texts))


@pytest.mark.parametrize(("image", "text"), [(True, True), (True, False), (False, False)])
def test_adapters_and_heads_train_and_the_towers_stay_frozen(build_towers, image, text):
    network = build_network(
        build_towers(),
        settings=NetworkSettings(
            lora=LoraSettings(rank=2, image=image, text=text),
            fusion=FusionSettings(width=16, heads=2),
            ordinals=4,
        ),
    )
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    for tower, wanted in (("image_tower", image), ("text_tower", text)):
        names = {name for name in trained if name.startswith(tower)}
        assert bool(names) == wanted
        assert all(".lora_" in name for name in names)
    heads = {name for name in trained if name.startswith("members.")}
    assert heads == set(network.heads.state_dict())


def test_gradients_reach_everything_that_trains(network, texts):
    network(assemble(texts, image_slots=SLOTS, pixels=PIXELS)).square().sum().backward()
    idle = [
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    ]
    assert idle == []


def test_a_copy_gives_the_same_logits(network, texts):
    found = logits_of(copy.deepcopy(network), texts=texts)
    np.testing.assert_array_equal(found, logits_of(network, texts=texts))
