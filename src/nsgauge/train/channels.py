"""The members' channels, each fitted on the rows that teach its member, and their shares."""

import numpy as np
from jaxtyping import Bool, Float

from nsgauge.data.split import Side
from nsgauge.models.channels import ChannelSettings
from nsgauge.models.lexical import response_grams
from nsgauge.models.network import Network
from nsgauge.protocol import CELLS, observation_cells
from nsgauge.train.corpus import Corpus
from nsgauge.train.features import (
    CorpusVectors,
    corpus_features,
    held_out_voices,
    row_exchanges,
)
from nsgauge.train.lexical import fit_lexical
from nsgauge.train.probe import fit_probe
from nsgauge.train.shares import fit_shares


def fit_channels(
    network: Network, *, corpus: Corpus, vectors: CorpusVectors | None, settings: ChannelSettings
) -> None:
    """Fit every member's channels, in place.

    Args:
        network: Trained, but for the channels.
        corpus: What to learn from.
        vectors: What the towers made of it; None has them read it, if there is a probe.
        settings: Which channels there are.

    Raises:
        DataError: the rows that teach a member are of one class only.
    """
    if not settings.wanted:
        return
    on_train = np.array([side is Side.TRAIN for side in corpus.sides])
    learned = np.flatnonzero(on_train).tolist()
    features = None
    if settings.probe is not None:
        features = corpus_features(network, corpus=corpus, rows=learned, vectors=vectors)
    told = row_exchanges(network, corpus=corpus, rows=learned, vectors=vectors)
    for number, member in enumerate(network.members):
        taught = on_train & (corpus.parts != number)
        rows = np.flatnonzero(taught)
        shares = class_shares(corpus, taught=taught)[rows]
        if settings.lexical is not None:
            grams = response_grams([corpus.texts[row] for row in rows], settings=settings.lexical)
            channel = fit_lexical(grams, shares=shares, settings=settings.lexical)
            member.get_submodule("lexical").load_state_dict(channel.state_dict())
        if settings.probe is not None and features is not None:
            probe = fit_probe(features[taught[learned]], shares=shares, settings=settings.probe)
            member.get_submodule("probe").load_state_dict(probe.state_dict())
        if settings.language is not None and told is not None:
            own = told[taught[learned]].numpy()
            language = fit_probe(own, shares=shares, settings=settings.language)
            member.get_submodule("language").load_state_dict(language.state_dict())


def weigh_channels(network: Network, *, corpus: Corpus, vectors: CorpusVectors | None) -> None:
    """Choose the shares of fitted channels, in place, if the network's settings ask for it.

    By the rows that a member of a committee hasn't learned from; without a committee, by those of
    validation.

    Args:
        network: Trained, with its channels.
        corpus: What it learned from.
        vectors: What its towers, as they are now, make of that; None has them read it.
    """
    settings = network.settings
    if not settings.channels.fit_shares:
        return
    rows = corpus.rows_of(Side.TRAIN if settings.members > 1 else Side.VALIDATION)
    shares = fit_shares(
        held_out_voices(network, corpus=corpus, rows=rows, vectors=vectors),
        named=corpus.shares[rows],
        masses=corpus.masses[rows],
        is_open=open_classes(corpus),
        given=settings.channels.shares,
    )
    network.weigh(shares)


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
    is_open = open_classes(corpus).astype(np.float64)
    named = corpus.shares.sum(axis=1) > 0
    # Votes that name a cell say how common its classes are, less surely than votes that name them.
    whole = corpus.masses[taught][:, : len(CELLS)].sum(axis=0)[cells] + 1e-6
    counts = corpus.shares[taught].sum(axis=0) if named[taught].any() else whole
    open_counts = is_open * (counts + 1e-6)
    spread = corpus.masses @ (open_counts / open_counts.sum(axis=1, keepdims=True))
    shares = np.where(named[:, None], corpus.shares, spread).astype(np.float64)
    return shares / shares.sum(axis=1, keepdims=True)


def open_classes(corpus: Corpus) -> Bool[np.ndarray, "observations classes"]:
    """Which classes each observation leaves open."""
    cells = np.array([CELLS.index(each.cell) for each in corpus.classes])
    return observation_cells()[:, cells]
