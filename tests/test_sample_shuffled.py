"""Labels dealt out to other triples teach nothing; a file of its own, to run beside the other."""

AXES = ("unsafe", "not_grounded")


def test_shuffled_labels_teach_nothing(benchmark_module):
    measured = benchmark_module("sample").measure(
        seed=7,
        labels="shuffled",
        overrides=("optimisation.frozen.epochs=12", "optimisation.adapted.epochs=0"),
    )
    for axis in AXES:
        assert measured[f"{axis}_auroc"] < 0.75
