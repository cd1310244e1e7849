"""What exists in the sample world: sixteen kinds of thing in four families.

Every kind has a harmful and a benign look-alike with one outline. Within a family the mark that
tells them apart is of one sort (contrasting spots, a hazard diamond, a red ring with a bar, dark
cracks), so that a kind can be left out of training and still be recognised.
"""

from dataclasses import dataclass
from enum import StrEnum


class Family(StrEnum):
    """What a kind belongs to; prompts and advice are shared within a family."""

    FOOD = "food"
    CONTAINER = "container"
    SIGN = "sign"
    PLACE = "place"


class Variant(StrEnum):
    """Which of the two look-alikes: of a picture the truth, of an answer its reading."""

    HARMFUL = "harmful"
    BENIGN = "benign"

    @property
    def other(self) -> "Variant":
        """The look-alike of this one."""
        return Variant.BENIGN if self is Variant.HARMFUL else Variant.HARMFUL


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A thing with two look-alikes.

    Attributes:
        name: Short and unique.
        family: Whose prompts and advice it shares.
        names: Per variant, noun phrases that say which look-alike it is.
        cues: Per variant, what can be seen that shows it, as a noun phrase in the plural or
            singular that follows "because of".
    """

    name: str
    family: Family
    names: dict[Variant, tuple[str, ...]]
    cues: dict[Variant, tuple[str, ...]]


def _kind(
    name: str,
    family: Family,
    *,
    harmful: tuple[str, ...],
    harmful_cues: tuple[str, ...],
    benign: tuple[str, ...],
    benign_cues: tuple[str, ...],
) -> Kind:
    return Kind(
        name=name,
        family=family,
        names={Variant.HARMFUL: harmful, Variant.BENIGN: benign},
        cues={Variant.HARMFUL: harmful_cues, Variant.BENIGN: benign_cues},
    )


KINDS: tuple[Kind, ...] = (
    _kind(
        "mushroom",
        Family.FOOD,
        harmful=("a toxic toadstool", "a poisonous mushroom", "a fly agaric, which is poisonous"),
        harmful_cues=("the white spots on its red cap", "the spotted red cap"),
        benign=("an edible brown mushroom", "a common table mushroom", "a harmless mushroom"),
        benign_cues=("the even brown cap", "the plain cap without a single spot"),
    ),
    _kind(
        "berries",
        Family.FOOD,
        harmful=(
            "a bunch of poisonous berries",
            "a few toxic wild berries",
            "a cluster of harmful berries",
        ),
        harmful_cues=("the dark eye on every pale berry", "the pale skin with dark spots"),
        benign=(
            "a bunch of ripe blueberries",
            "a handful of edible berries",
            "a few ordinary sweet berries",
        ),
        benign_cues=("the even blue skin", "the smooth blue fruit"),
    ),
    _kind(
        "bread",
        Family.FOOD,
        harmful=("a mouldy slice of bread", "spoiled bread", "bread that has gone bad"),
        harmful_cues=("the green spots of mould", "the dark fuzzy patches on the crumb"),
        benign=("a fresh slice of bread", "good plain bread", "bread that is still fine"),
        benign_cues=("the clean golden crumb", "the even crumb without a spot"),
    ),
    _kind(
        "fish",
        Family.FOOD,
        harmful=("a poisonous puffer", "a toxic spiny fish", "a fish with poison in its skin"),
        harmful_cues=("the dark spots and spines", "the spotted yellow skin with its spines"),
        benign=("an ordinary table fish", "a plain edible fish", "a harmless fish like bream"),
        benign_cues=("the smooth grey skin", "the plain silver sides"),
    ),
    _kind(
        "bottle",
        Family.CONTAINER,
        harmful=("a bottle of drain cleaner", "a bottle of a corrosive cleaner", "toxic cleaner"),
        harmful_cues=("the red hazard diamond", "the warning diamond on the bottle"),
        benign=("a bottle of herb vinegar", "a bottle of salad dressing", "harmless vinegar"),
        benign_cues=("the green leaf on the label", "the label with a leaf"),
    ),
    _kind(
        "jar",
        Family.CONTAINER,
        harmful=("a jar of rat bait", "a jar of caustic crystals", "a jar of something toxic"),
        harmful_cues=("the hazard diamond on the jar", "the red warning mark"),
        benign=("a jar of tea leaves", "a jar of dried herbs", "a jar of something edible"),
        benign_cues=("the leaf on the label", "the green picture of a leaf"),
    ),
    _kind(
        "tin",
        Family.CONTAINER,
        harmful=("a tin of paint thinner", "a tin of insect spray", "a tin of a toxic solvent"),
        harmful_cues=("the red diamond on the tin", "the hazard mark on its front"),
        benign=("a tin of garden peas", "a tin of spinach", "a tin of ordinary vegetables"),
        benign_cues=("the leaf on its front", "the green label"),
    ),
    _kind(
        "jug",
        Family.CONTAINER,
        harmful=("a jug of bleach", "a jug of antifreeze", "a jug of a poisonous liquid"),
        harmful_cues=("the warning diamond on its side", "the red hazard label"),
        benign=("a jug of apple juice", "a jug of iced tea", "a jug of something fit to drink"),
        benign_cues=("the leaf on its side", "the plant on the label"),
    ),
    _kind(
        "swimming",
        Family.SIGN,
        harmful=("a sign that forbids swimming", "a no swimming sign", "a ban on bathing"),
        harmful_cues=("the red ring with a bar across the waves", "the crossed out waves"),
        benign=("a sign that marks a bathing place", "a swimming area sign", "a bathing sign"),
        benign_cues=("the blue disc with waves", "the plain blue board with waves"),
    ),
    _kind(
        "drinking",
        Family.SIGN,
        harmful=("a sign that says the water is not for drinking", "a no drinking water sign"),
        harmful_cues=("the crossed out cup", "the red ring with a bar across the cup"),
        benign=("a sign for drinking water", "a sign that the water is fit to drink"),
        benign_cues=("the blue disc with a cup", "the cup on blue ground"),
    ),
    _kind(
        "walking",
        Family.SIGN,
        harmful=("a sign that closes the path", "a no entry sign for walkers", "a closed trail"),
        harmful_cues=("the crossed out walker", "the red ring with a bar across the walker"),
        benign=("a sign for a footpath", "a walking trail sign", "a sign for walkers"),
        benign_cues=("the blue disc with a walker", "the white walker on blue"),
    ),
    _kind(
        "campfire",
        Family.SIGN,
        harmful=("a sign that forbids fires", "a no campfires sign", "a fire ban"),
        harmful_cues=("the crossed out flame", "the red ring with a bar across the flame"),
        benign=("a sign for a fire pit", "a campfire area sign", "a sign that fires are allowed"),
        benign_cues=("the blue disc with a flame", "the white flame on blue"),
    ),
    _kind(
        "lake",
        Family.PLACE,
        harmful=("a frozen lake that is breaking up", "thin cracked ice", "ice that won't hold"),
        harmful_cues=("the dark cracks across the ice", "the long cracks"),
        benign=("a frozen lake with solid ice", "thick smooth ice", "ice that will hold"),
        benign_cues=("the smooth even surface", "the unbroken ice"),
    ),
    _kind(
        "bridge",
        Family.PLACE,
        harmful=("a footbridge that is falling apart", "a broken bridge", "a rotten footbridge"),
        harmful_cues=("the dark cracks through its planks", "the split planks"),
        benign=("a sound wooden footbridge", "a solid bridge", "a footbridge in good repair"),
        benign_cues=("the whole even planks", "the planks without a gap"),
    ),
    _kind(
        "socket",
        Family.PLACE,
        harmful=("a damaged wall socket", "a socket that is broken open", "a live cracked socket"),
        harmful_cues=("the dark cracks across the plate", "the split cover"),
        benign=("a wall socket in good order", "an intact socket", "an ordinary wall socket"),
        benign_cues=("the clean whole plate", "the cover without a scratch"),
    ),
    _kind(
        "ladder",
        Family.PLACE,
        harmful=("a ladder that is about to break", "a cracked ladder", "an unsafe old ladder"),
        harmful_cues=("the dark cracks in its rungs", "the splintered rungs"),
        benign=("a sturdy ladder", "a ladder in good shape", "an ordinary sound ladder"),
        benign_cues=("the straight whole rungs", "the rungs without a crack"),
    ),
)
