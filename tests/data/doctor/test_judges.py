import pyarrow as pa

from nsgauge.data.doctor.judges import judge_facts
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import VERDICTS_SCHEMA, Verdict, VerdictState


def facts_of(*verdicts):
    columns = {name: [getattr(row, name) for row in verdicts] for name in VERDICTS_SCHEMA.names}
    return judge_facts(pa.table(columns, schema=VERDICTS_SCHEMA))


def vote(triple_id, number=0, **fields):
    return Verdict(triple_id=triple_id, vote=number, judge="j", **fields)


def test_votes_ties_prompts_and_draws_are_counted():
    found = facts_of(
        vote("a", 0, safety=Safety.SAFE, prompt_hash="x", inclusion_probability=0.5),
        vote("a", 1, safety=Safety.UNSAFE, prompt_hash="x"),
        vote("a", 2, grounding=Grounding.GROUNDED, prompt_hash="y"),
        vote("b", 0, safety=Safety.SAFE, grounding=Grounding.GROUNDED),
        vote("b", 1, safety=Safety.SAFE, grounding=Grounding.NOT_GROUNDED),
        vote("c", 0, state=VerdictState.REFUSED),
        Verdict(triple_id="a", judge="a human", safety=Safety.SAFE),
    )
    assert list(found) == ["a human", "j"]
    facts = found["j"]
    assert (facts.asked, facts.answered, facts.most_votes) == (3, 2, 3)
    assert (facts.unsafe_ties, facts.not_grounded_ties) == (1, 1)
    assert facts.prompt_hashes == {"unknown": 3, "x": 2, "y": 1}
    assert facts.prompts_known
    # One of the votes on "a" says with what probability it was drawn; none on "b" does.
    assert facts.undeclared == 1
    human = found["a human"]
    assert (human.asked, human.answered, human.most_votes, human.undeclared) == (1, 1, 1, 1)
    assert not human.prompts_known


def test_a_judge_that_never_answered_has_no_votes():
    facts = facts_of(vote("a", state=VerdictState.FAILED))["j"]
    assert (facts.asked, facts.answered, facts.most_votes, facts.undeclared) == (1, 0, 0, 0)
    assert facts_of() == {}
