from hashlib import sha256
from itertools import combinations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from nsgauge.data.doctor.copies import copies_in
from nsgauge.data.split import Side, SplitSettings, assign_sides, group_keys, item_key
from nsgauge.records import TRIPLES_SCHEMA, ResponseState, Triple

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["b", "c"]),
        st.integers(0, 5),
        st.sampled_from(["p", "q", "r"]),
        st.none() | st.integers(0, 3),
    ),
    max_size=25,
)


def picture(number):
    return f"images/{sha256(bytes([number])).hexdigest()}.png"


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_shared_contents_are_those_of_all_pairs_of_rows(rows, tmp_path_factory):
    triples = [
        Triple(
            triple_id=f"t{number}",
            benchmark=benchmark,
            item_id=f"i{item}",
            prompt=prompt,
            response=f"r{number}",
            image=None if image is None else picture(image),
        )
        for number, (benchmark, item, prompt, image) in enumerate(rows)
    ]
    columns = {name: [getattr(t, name) for t in triples] for name in TRIPLES_SCHEMA.names}
    table = pa.table(columns, schema=TRIPLES_SCHEMA)
    found = copies_in(table, data=tmp_path_factory.getbasetemp())
    keys = [item_key(t.benchmark, t.item_id) for t in triples]
    groups = group_keys(keys, image_digests=[t.image for t in triples])
    # The stored name, and not the digest alone, would move a group to another side.
    digests = [None if t.image is None else t.image[7:-4] for t in triples]
    sides = assign_sides(group_keys(keys, image_digests=digests), settings=SplitSettings())

    def expected(contents):
        pairs = [
            (one, two)
            for one, two in combinations(range(len(triples)), 2)
            if contents[one] is not None
            and contents[one] == contents[two]
            and keys[one] != keys[two]
        ]
        return (
            len({contents[one] for one, _ in pairs}),
            len({keys[row] for pair in pairs for row in pair}),
            len({contents[a] for a, b in pairs if triples[a].benchmark != triples[b].benchmark}),
            len({contents[a] for a, b in pairs if sides[a] != sides[b]}),
        )

    def counted(shared):
        return (shared.contents, shared.items, shared.across_benchmarks, shared.apart)

    prompts = [t.prompt for t in triples]
    blind = [t.prompt if t.image is None else None for t in triples]
    assert counted(found.pictures) == expected([t.image for t in triples])
    assert counted(found.prompts) == expected(prompts)
    assert counted(found.blind_prompts) == expected(blind)
    assert found.pictures.apart == 0
    assert sum(found.sides.values()) == len(triples)
    assert found.sides == {side: sides.count(side) for side in Side}
    sizes = [len({k for k, g in zip(keys, groups, strict=True) if g == group}) for group in groups]
    assert found.largest_group == max(sizes, default=0)


def test_a_triple_repeats_another_only_if_nothing_tells_them_apart(triple, table, tmp_path):
    same = {"response": "r", "vllm": "v", "item_id": "i", "prompt": "p"}
    blind = [triple(0, **same), triple(1, **same)]
    assert copies_in(table(blind), data=tmp_path).triples == 1
    for change in ({"response": "s"}, {"vllm": "w"}, {"prompt": "q"}, {"sample": 1}):
        told_apart = [blind[0], triple(1, **{**same, **change})]
        assert copies_in(table(told_apart), data=tmp_path).triples == 0, change
    # Without a picture another item may be about another one; with the same picture it isn't.
    other = triple(1, **{**same, "item_id": "j"})
    assert copies_in(table([blind[0], other]), data=tmp_path).triples == 0
    seen = {**same, "image": picture(0)}
    shown = [triple(0, **seen), triple(1, **{**seen, "item_id": "j"})]
    assert copies_in(table(shown), data=tmp_path).triples == 1
    silent = {**same, "response_state": ResponseState.EMPTY}
    rows = [triple(n, **silent) for n in range(2)]
    assert copies_in(table(rows), data=tmp_path).triples == 0


def test_pictures_are_told_apart_by_their_bytes_and_not_by_their_names(triple, table, tmp_path):
    for name, content in {"a.png": b"one", "b.png": b"one", "c.png": b"two"}.items():
        (tmp_path / name).write_bytes(content)
    rows = [
        triple(0, item_id="i0", image="a.png"),
        triple(1, item_id="i1", image="b.png"),
        triple(2, item_id="i2", image="c.png"),
        triple(3, item_id="i3", image="gone.png"),
        triple(4, item_id="i4", image="gone.png"),
        triple(5, item_id="i5", image="../a.png"),
    ]
    shared = copies_in(table(rows), data=tmp_path).pictures
    assert (shared.contents, shared.examples) == (1, ("b/i0", "b/i1"))
