"""Rows of windows: what the tower is given of each triple, as objects or as columns."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Int

from nsgauge.models.stretches import gathered
from nsgauge.models.towers.packing import Window, Windows


class TextRole(IntEnum):
    """What a window holds; the fusion has an embedding per role."""

    PROMPT = 0
    RESPONSE = 1
    CAPTION = 2
    JOINT = 3
    """The prompt's beginning and a stretch of the response, as a pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowText:
    """One triple's windows.

    Attributes:
        windows: In reading order.
        roles: What each window holds.
        ordinals: 0, 1, ... within the windows of the same role.
        truncated: Whether a cap cut the prompt, the response or the caption.
        response_ids: The response's own tokens, window after window.
    """

    windows: tuple[Window, ...]
    roles: tuple[TextRole, ...]
    ordinals: tuple[int, ...]
    truncated: bool
    response_ids: tuple[tuple[int, ...], ...] = ()

    @property
    def response_windows(self) -> int:
        """How many windows the response is read in."""
        return sum(role in (TextRole.RESPONSE, TextRole.JOINT) for role in self.roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWindows:
    """Rows' windows as columns, row after row: no object for each.

    Attributes:
        windows: In reading order.
        bounds: Where each row's windows begin, and where the last row's end.
        roles: Per window, its TextRole.
        ordinals: Per window, 0, 1, ... among the row's windows of the same role.
        response: Per window, where within it its stretch of the response begins and ends; twice
            the same where there is none.
        truncated: Per row, whether a cap cut the prompt, the response or the caption.
    """

    windows: Windows
    bounds: Int[np.ndarray, " bounds"]
    roles: Int[np.ndarray, " windows"]
    ordinals: Int[np.ndarray, " windows"]
    response: Int[np.ndarray, "windows 2"]
    truncated: Bool[np.ndarray, " rows"]

    def __len__(self) -> int:
        """How many rows."""
        return len(self.truncated)

    def __getitem__(self, index: int) -> RowText:
        """One row as objects."""
        places = range(int(self.bounds[index]), int(self.bounds[index + 1]))
        windows = tuple(self.windows[place] for place in places)
        roles = tuple(TextRole(self.roles[place]) for place in places)
        return RowText(
            windows=windows,
            roles=roles,
            ordinals=tuple(self.ordinals[places.start : places.stop].tolist()),
            truncated=bool(self.truncated[index]),
            response_ids=tuple(
                window.ids[slice(*self.response[place].tolist())]
                for place, window, role in zip(places, windows, roles, strict=True)
                if role in (TextRole.RESPONSE, TextRole.JOINT)
            ),
        )

    def rows(self, chosen: Int[np.ndarray, " chosen"]) -> "RowWindows":
        """Some of the rows, in the order chosen."""
        each = np.diff(self.bounds)[chosen]
        return self.having(
            gathered(np.arange(len(self.roles)), starts=self.bounds[:-1][chosen], lengths=each),
            each=each,
            truncated=self.truncated[chosen],
        )

    def having(
        self,
        chosen: Int[np.ndarray, " chosen"],
        *,
        each: Int[np.ndarray, " rows"],
        truncated: Bool[np.ndarray, " rows"],
    ) -> "RowWindows":
        """Rows made of some of the windows.

        Args:
            chosen: Numbers of the windows, row after row.
            each: How many of them each row has.
            truncated: Per row.
        """
        lengths = self.windows.lengths[chosen]
        return RowWindows(
            windows=Windows(
                ids=gathered(self.windows.ids, starts=self.windows.bounds[chosen], lengths=lengths),
                bounds=np.concatenate([[0], np.cumsum(lengths)]),
                second=self.windows.second[chosen],
            ),
            bounds=np.concatenate([[0], np.cumsum(each)]),
            roles=self.roles[chosen],
            ordinals=self.ordinals[chosen],
            response=self.response[chosen],
            truncated=truncated,
        )

    @property
    def response_windows(self) -> Int[np.ndarray, " rows"]:
        """Per row, how many windows its response is read in."""
        reads = np.isin(self.roles, (TextRole.RESPONSE, TextRole.JOINT))
        return np.diff(np.concatenate([[0], np.cumsum(reads)])[self.bounds])
