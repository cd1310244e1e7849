"""How a plan is to be drawn."""

from typing import Literal

from pydantic import Field, model_validator

from nsgauge.data.plan_file import Design
from nsgauge.settings import Settings

Axis = Literal["unsafe", "not_grounded", "either"]
Allocation = Literal["proportional", "equal", "neyman"]


class PlanSettings(Settings):
    """How to draw.

    `size` counts triples, or items where `by_item` draws items with all their responses; instead of
    it, `width` asks for as many as make the intervals of the rates on `axis` that narrow. Strata
    are benchmark x VLLM (the benchmark alone for items), times `score_bins` equally filled bins of
    the probability on `axis`; `minimum` units come from every stratum, or all that it has. The
    `neyman` allocation draws most where the classifier is unsure. `floor` is the share of an
    `uncertainty` draw, or of a `neyman` allocation, that is spread evenly; `axis` says whose
    uncertainty, and `either` takes the larger of the two. `judge` is the one whose answers take a
    triple out. A later `round` for the same judge is drawn anew. Items that the bundle of the
    scores was fitted on are left out, as a report leaves them out, unless `include_seen`.
    """

    size: int | None = Field(None, ge=0)
    width: float | None = Field(None, gt=0, lt=1)
    design: Design = Design.UNIFORM
    judge: str | None = Field(None, min_length=1)
    by_item: bool = False
    axis: Axis = "either"
    score_bins: int = Field(0, ge=0, le=20)
    allocation: Allocation = "proportional"
    minimum: int = Field(2, ge=1)
    floor: float = Field(0.2, gt=0, le=1)
    include_seen: bool = False
    seed: int = Field(0, ge=0, lt=2**63)
    round: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _bins_have_an_axis(self) -> "PlanSettings":
        if self.score_bins and self.design is not Design.STRATIFIED:
            raise ValueError(f"score_bins is for the stratified design, not for {self.design}")
        if self.score_bins and self.axis == "either":
            raise ValueError("score_bins needs one axis: unsafe or not_grounded")
        return self

    @model_validator(mode="after")
    def _an_allocation_is_to_strata(self) -> "PlanSettings":
        if self.allocation != "proportional" and self.design is not Design.STRATIFIED:
            raise ValueError(
                f"allocation {self.allocation} is for the stratified design, not for {self.design}"
            )
        return self

    @model_validator(mode="after")
    def _size_or_width(self) -> "PlanSettings":
        if (self.size is None) == (self.width is None):
            given = "neither" if self.size is None else "both"
            raise ValueError(f"give a size (--rows) or a width (--width): {given} given")
        return self

    @property
    def needs_scores(self) -> bool:
        """Whether the draw depends on the classifier's scores."""
        neyman = self.design is Design.STRATIFIED and self.allocation == "neyman"
        return self.design is Design.UNCERTAINTY or self.score_bins > 0 or neyman
