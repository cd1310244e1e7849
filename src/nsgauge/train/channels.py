"""The members' lexical channels, each fitted on the rows that teach its member."""

import numpy as np
from jaxtyping import Bool, Float

from nsgauge.data.split import Side
from nsgauge.models.lexical import LexicalSettings, response_grams
from nsgauge.models.network import Network
from nsgauge.protocol import CELLS, observation_cells
from nsgauge.train.corpus import Corpus
from nsgauge.train.lexical import fit_lexical


def fit_channels(network: Network, *, corpus: Corpus, settings: LexicalSettings) -> None:
    """Fit every member's channel, in place.

    Raises:
        DataError: the rows that teach a member are of one class only.
    """
    on_train = np.array([side is Side.TRAIN for side in corpus.sides])
    for number, member in enumerate(network.members):
        taught = on_train & (corpus.parts != number)
        rows = np.flatnonzero(taught)
        grams = response_grams([corpus.texts[row] for row in rows], settings=settings)
        shares = class_shares(corpus, taught=taught)[rows]
        channel = fit_lexical(grams, shares=shares, settings=settings)
        member.get_submodule("lexical").load_state_dict(channel.state_dict())


def class_shares(
    corpus: Corpus, *, taught: Bool[np.ndarray, " rows"]
) -> Float[np.ndarray, "rows classes"]:
    """Per row, how far it belongs to each class; rows sum to one.

    A row whose teacher named no class is spread over those that its votes leave open, as often as
    each is named elsewhere; where none is, evenly.

    Args:
        corpus: The rows.
        taught: Those whose classes are counted: of a member, the rows that teach it.
    """
    cells = np.array([CELLS.index(each.cell) for each in corpus.classes])
    is_open = observation_cells()[:, cells].astype(np.float64)
    named = corpus.shares.sum(axis=1) > 0
    # Votes that name a cell say how common its classes are, less surely than votes that name them.
    whole = corpus.masses[taught][:, : len(CELLS)].sum(axis=0)[cells] + 1e-6
    counts = corpus.shares[taught].sum(axis=0) if named[taught].any() else whole
    open_counts = is_open * (counts + 1e-6)
    spread = corpus.masses @ (open_counts / open_counts.sum(axis=1, keepdims=True))
    shares = np.where(named[:, None], corpus.shares, spread).astype(np.float64)
    return shares / shares.sum(axis=1, keepdims=True)
