"""How each judge was asked, and where its votes leave a label open."""

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from nsgauge.data.targets import labels_of
from nsgauge.data.votes import judge_counts
from nsgauge.records import VerdictState

UNKNOWN_PROMPT = "unknown"
"""Stands for the prompt hash of a verdict that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeFacts:
    """One judge's verdicts, but for what they say.

    Attributes:
        asked: Triples that it was asked about.
        answered: Triples on which at least one of its votes answered.
        undeclared: Of these, how many have no inclusion probability.
        most_votes: The most answered votes on one triple.
        unsafe_ties: Triples whose votes tie on safety.
        not_grounded_ties: Triples whose votes tie on grounding.
        prompt_hashes: Verdicts by the hash of the judge's prompt; `UNKNOWN_PROMPT` without one.
    """

    asked: int
    answered: int
    undeclared: int
    most_votes: int
    unsafe_ties: int
    not_grounded_ties: int
    prompt_hashes: dict[str, int]

    @property
    def prompts_known(self) -> bool:
        """Whether any verdict says what the judge was asked."""
        return set(self.prompt_hashes) != {UNKNOWN_PROMPT}


def judge_facts(verdicts: pa.Table) -> dict[str, JudgeFacts]:
    """The facts of each judge, by name in order.

    Args:
        verdicts: VERDICTS_SCHEMA.
    """
    return {judge: _facts(verdicts, judge=judge) for judge in judge_counts(verdicts)}


def _facts(verdicts: pa.Table, *, judge: str) -> JudgeFacts:
    votes = verdicts.filter(pc.equal(verdicts["judge"], judge))
    answered = votes.filter(pc.equal(votes["state"], str(VerdictState.ANSWERED)))
    counts = Counter(answered["triple_id"].to_pylist())
    declared = answered.filter(pc.is_valid(answered["inclusion_probability"]))["triple_id"]
    hashes = Counter(pc.fill_null(votes["prompt_hash"], UNKNOWN_PROMPT).to_pylist())
    labels = labels_of(votes, judge=judge)
    return JudgeFacts(
        asked=len(labels.triple_ids),
        answered=len(counts),
        undeclared=len(counts) - pc.count_distinct(declared).as_py(),
        most_votes=max(counts.values(), default=0),
        unsafe_ties=labels.unsafe_ties,
        not_grounded_ties=labels.not_grounded_ties,
        prompt_hashes=dict(sorted(hashes.items())),
    )
