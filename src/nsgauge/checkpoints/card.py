"""The model card that a bundle carries as its README.md."""

from nsgauge.checkpoints.manifest import BundleManifest, ThresholdChoice
from nsgauge.models.lora import LoraSettings

_TEMPLATE = """\
# {name}

A classifier of vision-language model responses: safe or unsafe, and safety-grounded or not (NSG).
Made by nsgauge {version} on {created}; load it with `nsgauge.Classifier.load(path)` or score a data
folder with `nsgauge score`.

| | |
|---|---|
| towers | preset `{preset}` {adapters} |
| teacher | {judges} |
| trained on | {rows} rows of {vllms} VLLMs, data {data} |
| calibration | {calibration} |
| thresholds | unsafe >= {unsafe:.3f}, not_grounded >= {not_grounded:.3f} |
{choices}| training took | {seconds:.0f} s |

## On rows held out

| measure | value |
|---|---|
{validation}

{held_out} The honest figures are those of `nsgauge report` on unseen items.

## When not to trust it

It imitates its teacher: the teacher's errors are its errors. Its thresholds hold for responses like
those it was trained on; on a new benchmark, a new VLLM, another language or much longer responses
label a few hundred rows and read the report before quoting a rate. It measures responses in
bulk; it is not a moderation gate.
"""

_VALIDATION = """\
These rows, of the validation side, chose the thresholds, and the snapshot where one was chosen, so
the figures flatter."""
_COMMITTEE = """\
Each of these rows was decided by the one member of the committee that hadn't learned from it. They
chose the calibrator and the thresholds, so F1 flatters a little; all members together, which decide
on new rows, do a little better than one."""


def model_card(manifest: BundleManifest) -> str:
    """The card as Markdown."""
    training = manifest.training
    rows = ", ".join(f"{count} {_escaped(side)}" for side, count in training.rows.items())
    measures = [
        f"| {_escaped(name)} | {'undefined' if value is None else f'{value:.3f}'} |"
        for name, value in training.validation.items()
    ]
    return _TEMPLATE.format(
        name=_escaped(manifest.name),
        version=manifest.nsgauge_version,
        created=_escaped(training.created),
        preset=manifest.preset.name,
        adapters=_adapters(manifest.network.lora),
        judges=_escaped(", ".join(training.judges)),
        rows=rows,
        vllms=len(training.vllms),
        data=training.data_fingerprint[:12],
        calibration=manifest.calibrator.method.replace("_", " "),
        unsafe=manifest.thresholds.unsafe,
        not_grounded=manifest.thresholds.not_grounded,
        choices="".join(
            f"| {_escaped(axis)} was chosen for | {_escaped(choice_words(choice))} |\n"
            for axis, choice in training.thresholds.items()
        ),
        seconds=training.seconds,
        validation="\n".join(measures),
        held_out=_COMMITTEE if manifest.network.members > 1 else _VALIDATION,
    )


def _adapters(lora: LoraSettings) -> str:
    return f"with LoRA rank {lora.rank}" if lora.image or lora.text else "without adapters"


def choice_words(choice: ThresholdChoice) -> str:
    """What a threshold was chosen for, and what it gave on validation.

    The bounds in it are one-sided, 95%.
    """
    wanted = "" if choice.wanted is None else f" {choice.wanted:g}"
    missed = "" if choice.reached else " (not reached)"
    shares = (
        ("precision", choice.precision, choice.precision_low),
        ("recall", choice.recall, choice.recall_low),
    )
    found = [
        f"{name} {'undefined' if value is None else f'{value:.3f}'}"
        + ("" if low is None else f", at least {low:.3f}")
        for name, value, low in shares
    ]
    target = choice.target.replace("_", " ")
    return f"{target}{wanted}{missed}: {'; '.join(found)}; {choice.rows} rows"


def _escaped(text: str) -> str:
    """Names come from the user's files: no markup, no table cells."""
    return "".join(" " if c in "\r\n" else f"\\{c}" if c in "\\`*_[]<>|#" else c for c in text)
