"""The members' lexical channels, each fitted on the rows that teach its member."""

import numpy as np
from jaxtyping import Float

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
    shares = class_shares(corpus)
    learned = np.array(corpus.rows_of(Side.TRAIN))
    for number, member in enumerate(network.members):
        rows = learned[corpus.parts[learned] != number]
        grams = response_grams([corpus.texts[row] for row in rows], settings=settings)
        channel = fit_lexical(grams, shares=shares[rows], settings=settings)
        member.get_submodule("lexical").load_state_dict(channel.state_dict())


def class_shares(corpus: Corpus) -> Float[np.ndarray, "rows classes"]:
    """Per row, how far it belongs to each class; rows sum to one.

    A row whose teacher named no class is spread over those that its votes leave open, as often as
    each is named elsewhere; where none is, evenly.
    """
    cells = np.array([CELLS.index(each.cell) for each in corpus.classes])
    is_open = observation_cells()[:, cells].astype(np.float64)
    named = corpus.shares.sum(axis=1) > 0
    taught = np.array([side is Side.TRAIN for side in corpus.sides])
    # Votes that name a cell say how common its classes are, less surely than votes that name them.
    whole = corpus.masses[taught][:, : len(CELLS)].sum(axis=0)[cells] + 1e-6
    counts = corpus.shares[taught].sum(axis=0) if named[taught].any() else whole
    open_counts = is_open * (counts + 1e-6)
    spread = corpus.masses @ (open_counts / open_counts.sum(axis=1, keepdims=True))
    shares = np.where(named[:, None], corpus.shares, spread).astype(np.float64)
    return shares / shares.sum(axis=1, keepdims=True)
