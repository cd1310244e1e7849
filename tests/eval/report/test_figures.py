from dataclasses import replace
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from nsgauge.eval.report.figures import (
    DotRow,
    ReliabilityDrawing,
    RiskDrawing,
    Span,
    draw_dots,
    draw_reliability,
    draw_risk,
    inline_svg,
)

HOSTILE = ("<script>alert(1)</script>", "$\\frac{1}{", '"><img src=x>', "x\x00\x1b\ud800y", "&amp;")


def dots(*labels):
    rows = [DotRow(label=label, spans=(Span(value=0.4, low=0.2, high=0.6),)) for label in labels]
    return draw_dots(rows, series=("unsafe",), xlabel="share")


def test_hostile_names_are_drawn_as_text():
    root = ElementTree.fromstring(dots(*HOSTILE))  # noqa: S314 - our own text
    texts = {"".join(node.itertext()) for node in root.iter() if node.tag.endswith("}text")}
    assert "<script>alert(1)</script>" in texts
    assert "$\\frac{1}{" in texts
    assert not [node for node in root.iter() if node.tag.endswith(("script", "image"))]


def test_the_same_numbers_give_the_same_bytes_and_leave_matplotlib_alone():
    before = dict(mpl.rcParams)
    assert dots("alpha", "beta") == dots("alpha", "beta")
    assert dict(mpl.rcParams) == before


def test_missing_spans_are_left_out_and_wrong_widths_refused():
    rows = [DotRow(label="alpha", spans=(None, Span(value=0.1, low=0.0, high=0.2)))]
    assert "alpha" in draw_dots(rows, series=("a", "b"), xlabel="share")
    with pytest.raises(ValueError, match="needs 1 spans"):
        draw_dots(rows, series=("a",), xlabel="share")


def test_inlined_figures_share_no_id_and_take_the_ink_of_the_page():
    grid = np.linspace(0, 1, 5)
    drawing = ReliabilityDrawing(
        axis="unsafe",
        predicted=grid,
        observed=grid,
        band_at=grid,
        band_low=grid,
        band_high=grid,
        histogram=np.arange(20),
    )
    svg = draw_reliability(drawing)
    one, two = (inline_svg(svg, name=name, description='a "b" <c>') for name in ("one", "two"))
    trees = [ElementTree.fromstring(text) for text in (one, two)]  # noqa: S314
    ids = [{node.get("id") for node in tree.iter()} - {None} for tree in trees]
    assert not ids[0] & ids[1]
    links = {value[1:] for node in trees[0].iter() for key, value in node.items() if "href" in key}
    assert links <= ids[0]
    assert trees[0].get("aria-label") == 'a "b" <c>'
    assert "currentColor" in one
    with pytest.raises(ValueError, match="can't be an id"):
        inline_svg(svg, name="a b", description="")


def test_a_risk_plot_names_its_lines_and_needs_one():
    line = RiskDrawing(
        name="VLLMs it knows",
        is_known=True,
        coverage=np.array([0.5, 1.0]),
        risk=np.array([0.0, 0.1]),
        error_rate=0.1,
        guaranteed=((0.5, 0.0),),
    )
    alone = draw_risk([line], axis="unsafe")
    assert "share of unsafe verdicts kept" in alone
    assert "VLLMs it knows" not in alone
    assert "never seen" in draw_risk([line, replace(line, name="never seen")], axis="unsafe")
    with pytest.raises(ValueError, match="needs a line"):
        draw_risk([], axis="unsafe")
