"""Labels dealt out to other triples teach nothing; a file of its own, to run beside the other."""

AXES = ("unsafe", "not_grounded")


def test_shuffled_labels_teach_nothing(benchmark_module, tmp_path):
    sample = benchmark_module("sample")
    runs = sample.runs_of("shuffled", seed=7)
    sample.perform(runs[0], work=tmp_path, overrides=("optimisation.frozen.epochs=8",))
    measured = sample.measure(runs, cell="pictures", work=tmp_path)
    for axis in AXES:
        assert measured[f"{axis}_auroc"] < 0.75
