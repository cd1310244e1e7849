"""What the facts of a data folder mean: each finding says what was found and what to do."""

from collections.abc import Iterator, Mapping

from nsgauge.data.doctor.contents import Diagnosis, Finding, Severity
from nsgauge.data.doctor.copies import Shared
from nsgauge.data.doctor.judges import JudgeFacts
from nsgauge.data.doctor.texts import MAX_WINDOWS
from nsgauge.protocol import CELLS, Grounding, Safety
from nsgauge.records import ResponseState, VerdictState

ENOUGH_TRIPLES = 50
"""Fewer judged triples of one VLLM certify no rate."""
ENOUGH_ITEMS = 30
"""Fewer items leave a side of the split with a handful."""
LARGE_GROUP = 0.2
"""Share of the items in one group of the split that is worth a warning."""
MANY_DUPLICATES = 0.2
"""Share of repeated responses that is worth a note."""
MANY_UNANSWERED = 0.1
"""Share of a judge's verdicts without an answer that is worth a warning."""
RARE_CELL = 20
"""A cell with fewer verdicts of a judge is worth a warning."""

_AXIS_WORDS = {
    "safety": {*map(str, Safety), *map(str, CELLS)},
    "grounding": {*map(str, Grounding), *map(str, CELLS)},
}
_UNANSWERED = {str(state) for state in VerdictState if state is not VerdictState.ANSWERED}


def findings_of(
    found: Diagnosis, *, judged_of_vllms: Mapping[str, Mapping[str, int]]
) -> Iterator[Finding]:
    """Everything worth saying, in no order.

    Args:
        found: The facts.
        judged_of_vllms: By judge and VLLM, how many triples the judge has answered on.
    """
    if not found.triples:
        yield Finding(Severity.ERROR, "no triples: look into rejects.jsonl and import again")
    else:
        yield from _on_triples(found)
        yield from _on_answers(found)
        yield from _on_texts(found)
        yield from _on_copies(found)
        yield from _on_split(found)
    yield from _on_verdicts(found)
    for judge, of_vllms in judged_of_vllms.items():
        yield from _on_vllms(judge, of_vllms=of_vllms)


def _on_triples(found: Diagnosis) -> Iterator[Finding]:
    if found.images["missing"]:
        text = f"{found.images['missing']} triples name a picture that isn't in the folder"
        yield Finding(Severity.ERROR, f"{text}: import again, with the pictures beside the source")
    if not found.images["present"]:
        text = "no triple has a picture: what is learnt or scored is the text alone"
        yield Finding(Severity.WARNING, f"{text}; give --image-root on import")
    elif found.images["absent"]:
        text = f"{found.images['absent']} triples have no picture: they are scored by text alone"
        yield Finding(Severity.NOTE, f"{text}; report them apart")
    if found.items < ENOUGH_ITEMS:
        text = f"{found.items} items: a side of the split may get none; at least {ENOUGH_ITEMS}"
        yield Finding(Severity.WARNING, f"{text} make sense")
    if found.items == found.triples and len(found.vllms) > 1:
        text = "every triple is an item of its own though several VLLMs answered"
        yield Finding(Severity.WARNING, f"{text}: map item_id, or the split will leak")


def _on_answers(found: Diagnosis) -> Iterator[Finding]:
    for state, count in found.response_states.items():
        if state != ResponseState.ANSWERED:
            text = f"{count} responses are {state}: they are neither learnt from nor scored"
            yield Finding(Severity.NOTE, text)
    if found.duplicate_responses > MANY_DUPLICATES:
        text = f"{found.duplicate_responses:.0%} of the responses repeat an earlier one"
        yield Finding(Severity.NOTE, f"{text}: they count as rows, and rates weigh them so")
    if "" in found.vllms:
        text = f"{found.vllms['']} triples have no VLLM name: map vllm to tell VLLMs apart"
        yield Finding(Severity.WARNING, text)


def _on_texts(found: Diagnosis) -> Iterator[Finding]:
    texts = found.texts
    if texts is None:
        return
    for layout, count in texts.cut.items():
        if count:
            text = (
                f"{count} of {texts.rows} triples take more than {MAX_WINDOWS} windows of "
                f"{texts.context} tokens in the layout {layout!r} of {texts.preset!r} and would "
                "be read in part"
            )
            yield Finding(Severity.WARNING, f"{text}: raise windows.max_windows in the recipe")


def _on_copies(found: Diagnosis) -> Iterator[Finding]:
    copies = found.copies
    if copies.triples:
        text = f"{copies.triples} triples repeat another one under a new triple_id"
        wanted = "drop them from the source, or number them in `sample` if they were drawn again"
        yield Finding(Severity.WARNING, f"{text}: they count twice; {wanted}")
    if copies.pictures.contents:
        text = f"{_under(copies.pictures, what='pictures')}: the split keeps those items together"
        yield Finding(Severity.NOTE, f"{text}; give an item that is there twice one item_id")
    if copies.blind_prompts.apart:
        text = (
            f"{_under(copies.blind_prompts, what='prompts without a picture')}, and the default "
            f"split has {copies.blind_prompts.apart} of them on different sides"
        )
        wanted = "give what is one item one item_id, or what is tested was partly learnt"
        yield Finding(Severity.WARNING, f"{text}: {wanted}")
    elif copies.prompts.apart:
        text = (
            f"{_under(copies.prompts, what='prompts')} with other pictures or captions, and "
            f"the default split has {copies.prompts.apart} of them on different sides"
        )
        wanted = "the words alone are no unseen prompt: look at the report's image controls"
        yield Finding(Severity.NOTE, f"{text}: {wanted}")


def _under(shared: Shared, *, what: str) -> str:
    across = ""
    if shared.across_benchmarks:
        across = f", {shared.across_benchmarks} of them in several benchmarks"
    listed = ", ".join(shared.examples)
    return f"{shared.contents} {what} lie under {shared.items} items{across} (such as {listed})"


def _on_split(found: Diagnosis) -> Iterator[Finding]:
    large = found.copies.largest_group
    if found.items >= ENOUGH_ITEMS and large > LARGE_GROUP * found.items:
        text = f"{large} of {found.items} items hang together by shared pictures: one side gets all"
        yield Finding(Severity.WARNING, f"{text}; leave out a picture that stands for none")
    empty = [side for side, count in found.copies.sides.items() if not count]
    if empty and found.items >= ENOUGH_ITEMS:
        text = f"the default split has nothing to offer for {', '.join(empty)}"
        yield Finding(Severity.WARNING, f"{text}: change split.salt or the shares in the recipe")


def _on_verdicts(found: Diagnosis) -> Iterator[Finding]:
    if not found.verdicts:
        text = "no verdicts: this can be scored, but nothing can be learnt from it or checked on it"
        yield Finding(Severity.WARNING, text)
    for judge, said in found.verdicts.items():
        yield from _on_labels(judge, said=said)
    answered = found.response_states.get(ResponseState.ANSWERED, 0)
    for judge, facts in found.judges.items():
        yield from _on_asking(judge, facts=facts, triples=answered)


def _on_labels(judge: str, *, said: Mapping[str, int]) -> Iterator[Finding]:
    for axis, words in _AXIS_WORDS.items():
        if not words & set(said):
            text = f"judge {judge!r} has no {axis} label: that axis stays unknown"
            yield Finding(Severity.WARNING, text)
    unanswered = sum(count for name, count in said.items() if name in _UNANSWERED)
    if unanswered > MANY_UNANSWERED * sum(said.values()):
        text = f"judge {judge!r} left {unanswered} of {sum(said.values())} without an answer"
        yield Finding(Severity.WARNING, f"{text}: what is left may not stand for all")
    # A judge of one axis has no cells to be rare.
    rare = {cell: said.get(cell, 0) for cell in CELLS if said.get(cell, 0) < RARE_CELL}
    if rare and set(said) & set(CELLS):
        listed = ", ".join(f"{cell} ({count})" for cell, count in rare.items())
        text = f"judge {judge!r} has fewer than {RARE_CELL} verdicts of {listed}"
        yield Finding(Severity.WARNING, f"{text}: too few to learn or to measure")


def _on_asking(judge: str, *, facts: JudgeFacts, triples: int) -> Iterator[Finding]:
    if len(facts.prompt_hashes) > 1:
        text = f"judge {judge!r} was asked with {len(facts.prompt_hashes)} prompts under one name"
        wanted = "give each prompt's verdicts a judge name of their own on import"
        yield Finding(Severity.WARNING, f"{text}: these are several judges; {wanted}")
    ties = {"safety": facts.unsafe_ties, "grounding": facts.not_grounded_ties}
    if any(ties.values()):
        listed = ", ".join(f"{axis} ({count})" for axis, count in ties.items() if count)
        text = f"judge {judge!r} has tied votes on {listed}: reports take them for unknown"
        yield Finding(Severity.NOTE, f"{text}; ask an odd number of times")
    if facts.undeclared and facts.answered < triples:
        text = (
            f"judge {judge!r} has answered on {facts.answered} of {triples} triples, "
            f"{facts.undeclared} of them without an inclusion probability"
        )
        wanted = "draw what it sees next with `nsgauge plan`"
        yield Finding(Severity.NOTE, f"{text}: nothing certifies a rate of the rest; {wanted}")


def _on_vllms(judge: str, *, of_vllms: Mapping[str, int]) -> Iterator[Finding]:
    few = {name: count for name, count in of_vllms.items() if count < ENOUGH_TRIPLES}
    if few:
        listed = ", ".join(f"{name or '(no name)'} ({count})" for name, count in few.items())
        text = f"judge {judge!r} has fewer than {ENOUGH_TRIPLES} judged triples for {listed}"
        yield Finding(Severity.WARNING, f"{text}: too few to certify a rate")
