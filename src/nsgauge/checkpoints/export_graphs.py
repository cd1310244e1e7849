"""The network as graphs of fixed rank: padded windows and a mask in place of packed tokens."""

import math
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, pad

from nsgauge.models.language import of_windows
from nsgauge.models.member import Member
from nsgauge.models.network import Network
from nsgauge.models.pooling import TokenPool, before_second
from nsgauge.models.towers.text import TextTower, log_likelihoods
from nsgauge.models.towers.transformer import Block, Turn


class PaddedTokens(nn.Module):
    """A text tower's tokens, from windows padded to one length; the tower's own weights."""

    def __init__(self, tower: TextTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(
        self,
        ids: Int[Tensor, "windows length"],
        segments: Int[Tensor, "windows length"],
        lengths: Int[Tensor, " windows"],
    ) -> Float[Tensor, "windows length width"]:
        """As `TextTower.tokens`; any values past a window's length.

        Args:
            ids: Token ids; any known id past a window's length.
            segments: 1 in the second text of a window, else 0.
            lengths: Tokens in each window, at least 1.
        """
        tower = self.tower
        places = torch.arange(ids.shape[1], device=ids.device)
        tokens = tower.embedded(ids, positions=places, segments=segments)
        mask, turn = self._mask(places, lengths=lengths), tower.stack.turn(places)
        taken = tokens
        for number, block in enumerate(tower.stack.blocks, start=1):
            tokens = _layer(cast("Block", block), tokens, mask=mask, turn=turn)
            taken = tokens if number == tower.shape.taken_after else taken
        read: Tensor = tokens if tower.shape.embedding_norm else tower.norm(tokens)
        return read if tower.shape.taken_after is None else self._told(taken, last=read, ids=ids)

    def _told(
        self,
        taken: Float[Tensor, "windows length width"],
        *,
        last: Float[Tensor, "windows length width"],
        ids: Int[Tensor, "windows length"],
    ) -> Float[Tensor, "windows length token_width"]:
        """Tokens, and how likely each was after those before it."""
        likely = log_likelihoods(
            last[:, :-1], ids=ids[:, 1:], embedding=self.tower.token_embedding.weight
        )
        return torch.cat([taken, pad(likely, (1, 0))[..., None]], dim=-1)

    def _mask(
        self, places: Int[Tensor, " length"], *, lengths: Int[Tensor, " windows"]
    ) -> Float[Tensor, "windows heads length length"]:
        """What is added to the scores of attention: -inf where a token can't be seen."""
        stack, shape = self.tower.stack, self.tower.shape.transformer
        seen = held(lengths, places=places)[:, None, None, :]
        if shape.causal:
            seen = seen & (places[None, :] <= places[:, None])
        if stack.distance_bias is None:
            return torch.where(seen, 0.0, -torch.inf).expand(-1, -1, places.shape[0], -1)
        return torch.where(seen, stack.distance_bias(places.shape[0]), -torch.inf)


class PaddedTower(nn.Module):
    """A text tower as `TextTower.forward` has it if `pooled`, else as `TextTower.tokens`."""

    def __init__(self, tower: TextTower, *, pooled: bool) -> None:
        super().__init__()
        self.tokens = PaddedTokens(tower)
        self.pooled = pooled

    def forward(
        self,
        ids: Int[Tensor, "windows length"],
        segments: Int[Tensor, "windows length"],
        lengths: Int[Tensor, " windows"],
    ) -> Float[Tensor, "windows *length width"]:
        """Arguments as `PaddedTokens`; a vector a token, or a window if `pooled`."""
        tokens = self.tokens(ids, segments, lengths)
        return self._pool(tokens, lengths=lengths) if self.pooled else tokens

    def _pool(
        self, tokens: Float[Tensor, "windows length width"], *, lengths: Int[Tensor, " windows"]
    ) -> Float[Tensor, "windows text_width"]:
        tower = self.tokens.tower
        places = torch.arange(tokens.shape[1], device=tokens.device)
        if tower.shape.pooling == "end":
            chosen = (places == (lengths - 1)[:, None]).to(tokens.dtype)
        else:
            chosen = held(lengths, places=places) / lengths[:, None]
        pooled: Tensor = tower.projection((chosen[:, None, :] @ tokens).squeeze(1))
        return pooled


class WindowVectors(nn.Module):
    """Windows as the members' fusions take them: from the tower, or from each member's pool."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.read = PaddedTower(network.text_tower, pooled=not network.pools_tokens)
        self.members = network.members

    def forward(
        self,
        ids: Int[Tensor, "windows length"],
        segments: Int[Tensor, "windows length"],
        lengths: Int[Tensor, " windows"],
    ) -> Float[Tensor, "windows pools text_width"]:
        """Arguments as `PaddedTokens`; one pool where the tower pools, else one a member."""
        read: Tensor = self.read(ids, segments, lengths)
        if self.read.pooled:
            return read.unsqueeze(1)
        tokens = layer_norm(read, read.shape[-1:])
        taken = _taken(segments, lengths=lengths)
        head = before_second(segments)
        pools = [cast("TokenPool", cast("Member", member).pool) for member in self.members]
        return torch.stack([_pooled(pool, tokens, taken=taken, head=head) for pool in pools], dim=1)


class ExchangeVectors(nn.Module):
    """What a language model makes of windows of exchanges, as `models.language` has it."""

    def __init__(self, tower: TextTower) -> None:
        super().__init__()
        self.read = PaddedTokens(tower)

    def forward(
        self,
        ids: Int[Tensor, "windows length"],
        segments: Int[Tensor, "windows length"],
        lengths: Int[Tensor, " windows"],
    ) -> Float[Tensor, "windows width"]:
        """Arguments as `PaddedTokens`."""
        read: Tensor = self.read(ids, segments, lengths)
        taken = _taken(segments, lengths=lengths)
        if self.read.tower.shape.taken_after is not None:
            return of_windows(read, taken=taken)
        shares = taken.to(read.dtype) / taken.sum(dim=1, keepdim=True)
        return (shares[:, None] @ layer_norm(read, read.shape[-1:])).squeeze(1)


class Decision(nn.Module):
    """Logits of the four cells from the vectors of a row's image and windows."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.members = network.members
        self.cells = network.cells

    def forward(  # noqa: PLR0913, PLR0917 - the graph's inputs
        self,
        image: Float[Tensor, "rows image_tokens image_width"],
        image_present: Bool[Tensor, " rows"],
        windows: Float[Tensor, "rows slots pools text_width"],
        roles: Int[Tensor, "rows slots"],
        ordinals: Int[Tensor, "rows slots"],
        lexical: Float[Tensor, "rows members classes"] | None = None,
        exchanges: Float[Tensor, "rows exchange_width"] | None = None,
    ) -> Float[Tensor, "rows cells"]:
        """Uncalibrated logits of all members together.

        `lexical` is what each lexical channel says, `exchanges` what the language model made of a
        row.
        """
        said = []
        for index, member in enumerate(cast("list[Member]", list(self.members))):
            text = windows[:, :, index if windows.shape[2] > 1 else 0]
            own = member.read(
                image, image_present=image_present, text=text, roles=roles, ordinals=ordinals
            )
            voices = [own]
            if lexical is not None:
                voices.append(lexical[:, index])
            if member.probe is not None:
                voices.append(
                    member.probed(image, image_present=image_present, text=text, roles=roles)
                )
            if member.language is not None:
                voices.append(member.language(exchanges))
            said.append(member.joined(voices))
        return self.cells(torch.stack(said).mean(dim=0))


def held(
    lengths: Int[Tensor, " windows"], *, places: Int[Tensor, " length"]
) -> Bool[Tensor, "windows length"]:
    """Which places hold a token of the window, not padding of ours."""
    return places[None, :] < lengths[:, None]


def _layer(
    block: Block,
    tokens: Float[Tensor, "windows length width"],
    *,
    mask: Float[Tensor, "windows heads length length"],
    turn: Turn | None,
) -> Float[Tensor, "windows length width"]:
    """One block of a tower, on padded windows."""

    def attend(given: Tensor) -> Tensor:
        query, key, value = (
            part.transpose(1, 2) for part in block.split(_products(block, given), turn=turn)
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        read = (scores + mask).softmax(dim=-1) @ value
        merged: Tensor = block.out(read.transpose(1, 2).flatten(2))
        return merged

    if block.shape.norm_first:
        tokens = tokens + attend(block.attention_norm(tokens))
        return tokens + block.mlp(block.mlp_norm(tokens))
    tokens = block.attention_norm(tokens + attend(tokens))
    normed: Tensor = block.mlp_norm(tokens + block.mlp(tokens))
    return normed


def _products(block: Block, tokens: Float[Tensor, "windows length width"]) -> tuple[Tensor, ...]:
    """Queries, keys and values in one product: what is read is read once.

    Their weights are joined in the graph, so that a quantiser, which wants constants, passes over.
    """
    parts = (block.query, block.key, block.value)
    weights: list[Tensor] = [part.weight for part in parts]
    biases: list[Tensor] = [part.bias for part in parts if part.bias is not None]
    products = linear(tokens, torch.cat(weights), torch.cat(biases) if biases else None)
    return torch.split(products, [len(weight) for weight in weights], dim=-1)


def _taken(
    segments: Int[Tensor, "windows length"], *, lengths: Int[Tensor, " windows"]
) -> Bool[Tensor, "windows length"]:
    """Which tokens a pool reads, as `models.pooling.read_tokens` says."""
    second = segments == 1
    followed = torch.cat([second[:, 1:], torch.zeros_like(second[:, :1])], dim=1)
    inner = second & followed
    places = torch.arange(segments.shape[1], device=segments.device)
    whole = held(lengths, places=places)
    return inner | (whole & ~inner.any(dim=1, keepdim=True))


def _pooled(
    pool: TokenPool,
    tokens: Float[Tensor, "windows length width"],
    *,
    taken: Bool[Tensor, "windows length"],
    head: Bool[Tensor, "windows length"],
) -> Float[Tensor, "windows text_width"]:
    scores = pool.queries(tokens).masked_fill(~taken[..., None], -torch.inf)
    found = scores.softmax(dim=1).transpose(1, 2) @ pool.values(tokens)
    parts = torch.stack([taken, head], dim=1).to(tokens.dtype)
    means = (parts / parts.sum(dim=2, keepdim=True).clamp(min=1)) @ tokens
    return torch.cat([found.flatten(1), means.flatten(1)], dim=1)
