"""Funnels: what can be written, what it says when printed, and what is refused."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import Funnel, FunnelError, NestlingError, Stage, default_funnel
from strategies import funnels


def test_the_string_form_reads_as_stages() -> None:
    funnel = Funnel.parse("64@4:1000 > 128@16:100 > 384@16")
    assert funnel.stages == (Stage(64, 4, 1000), Stage(128, 16, 100), Stage(384, 16))


@given(funnel=st.integers(1, 2000).flatmap(funnels))
def test_a_printed_funnel_reads_back(funnel: Funnel) -> None:
    assert Funnel.parse(str(funnel)) == funnel


@pytest.mark.parametrize(
    "text", ["8@4:10>16@8", "  8@4:10>16@8", "8 @ 4 : 10 > 16 @ 8", "8@4:10\n>\n16@8\n"]
)
def test_spaces_do_not_matter(text: str) -> None:
    assert Funnel.parse(text) == Funnel((Stage(8, 4, 10), Stage(16, 8)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ">",
        "64",
        "64@",
        "@8",
        "64@8:",
        "64@8 >",
        "64@8:10",
        "64.0@8",
        "-64@8",
        "64@8,128@8",
        "x",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(FunnelError):
        Funnel.parse(text)


def test_the_message_quotes_the_stage_and_shows_the_form() -> None:
    with pytest.raises(FunnelError, match=r"'64x4'.*dims@bits:keep"):
        Funnel.parse("64x4 > 128@8")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("64@4 > 128@8", "needs a keep"),
        ("64@4:10 > 128@8:10", "last stage"),
        ("64@4:10 > 128@8:20 > 256@8", "keeps more"),
        ("64@1:10 > 128@2", "re-ranks"),
        ("64@8:10 > 32@16", "more dimensions"),
        ("64@16:10 > 64@16", "more bits"),
        ("64@16:10 > 64@8", "more bits"),
        ("64@5", "bits must be"),
        ("0@8", "dims must be"),
        ("65537@8", "dims must be"),
        ("8@8:0 > 16@8", "keep must be"),
        (" > ".join(f"{d}@8:5" for d in range(1, 9)) + " > 9@8", "1 to 8 stages"),
    ],
)
def test_stages_that_make_no_funnel_are_refused(text: str, why: str) -> None:
    with pytest.raises(FunnelError, match=why):
        Funnel.parse(text)


def test_the_same_dims_at_more_bits_make_a_stage() -> None:
    assert len(Funnel.parse("64@4:100 > 64@8:50 > 64@16:20 > 64@32").stages) == 4


def test_a_funnel_without_stages_is_refused() -> None:
    with pytest.raises(FunnelError, match="1 to 8 stages"):
        Funnel(())


@pytest.mark.parametrize("value", [None, 64, ["64@8"], (Stage(64, 8),)])
def test_only_strings_and_funnels_are_funnels(value: object) -> None:
    with pytest.raises(FunnelError, match="not " + type(value).__name__):
        Funnel.of(value)  # type: ignore[arg-type]


def test_of_returns_a_funnel_as_it_is() -> None:
    funnel = Funnel.parse("64@8")
    assert Funnel.of(funnel) is funnel


def test_funnels_are_values() -> None:
    one, other = Funnel.parse("8@4:10 > 16@8"), Funnel([Stage(8, 4, 10), Stage(16, 8)])  # type: ignore[arg-type]
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.stages = ()  # type: ignore[misc]


def test_a_funnel_error_is_a_value_error_of_nestling() -> None:
    assert issubclass(FunnelError, ValueError)
    assert issubclass(FunnelError, NestlingError)


@pytest.mark.parametrize(
    ("dim", "nesting", "funnel"),
    [
        (768, (8, 16, 48, 256, 768), "48@4:1000 > 256@8:200 > 768@16"),
        (768, (64, 128, 256, 512, 768), "128@4:1000 > 256@8:400 > 512@16:200 > 768@16"),
        (384, (16, 32, 48, 64, 128, 256, 384), "128@4:1000 > 256@16:200 > 384@16"),
        (256, (64, 128, 256), "128@4:1000 > 256@16"),
        (1024, (256, 1024), "256@4:1000 > 1024@16"),
        (96, (64, 96), "64@4:1000 > 96@16"),
        # Too short, too long or none: as without nesting.
        (768, (8, 16, 768), "192@4:1000 > 384@16:200 > 768@16"),
        (4096, (1024, 4096), "512@4:1000 > 1024@16:200 > 4096@16"),
        (64, (8, 48, 64), "64@8:1000 > 64@16"),
        (384, (), "96@4:1000 > 192@16:200 > 384@16"),
        (8960, (), "512@4:1000 > 1024@16:200 > 8960@16"),
    ],
)
def test_a_default_funnel_follows_the_nesting_dims(
    dim: int, nesting: tuple[int, ...], funnel: str
) -> None:
    assert str(default_funnel(dim, nesting)) == funnel
    assert default_funnel(dim, reversed(nesting)) == default_funnel(dim, nesting)


@given(
    dim=st.integers(1, 32_768),
    nesting=st.sets(st.integers(1, 40_000), max_size=40) | st.sets(st.integers(1, 200)),
)
def test_every_default_funnel_reads_little_and_ends_with_the_whole(
    dim: int, nesting: set[int]
) -> None:
    funnel = default_funnel(dim, nesting)
    scan, *reranks = funnel.stages
    assert scan.dims * scan.bits <= 512 * 4
    assert (reranks[-1].dims, reranks[-1].bits) == (dim, 16)
    plain = {stage.dims for stage in default_funnel(dim).stages}
    assert {stage.dims for stage in funnel.stages} - plain <= nesting
