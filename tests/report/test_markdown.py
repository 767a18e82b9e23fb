"""Markdown of a report: GitHub's tables, and no text that is read as markup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hpcfrugal.report.formats import rendered
from hpcfrugal.report.view import Block, Cell, Column, Facts, Json, Notes, Sheet, Table, note


@dataclass
class Made:
    """A report of these blocks."""

    made: list[Block]

    def blocks(self) -> Iterator[Block]:
        yield from self.made

    def document(self) -> dict[str, Json]:
        return {}

    def sheet(self) -> Sheet:
        return Sheet((), [])


def test_blocks_are_separated_and_numbers_are_on_the_right() -> None:
    table = Table([Column("Name", "text"), Column("Energy [Wh]")])
    table.add(["train", Cell("\N{GREATER-THAN OR EQUAL TO} 1.83", "measured")])
    table.add(["", "1.83"], "total", apart=True)
    facts = Facts((("State", "COMPLETED, exit code 0"), ("Nodes", "2: n1, n2")))
    found = rendered(Made([facts, table, Notes((note("First."), note("Second.")))]), "markdown")
    assert found == (
        "- **State:** COMPLETED, exit code 0\n- **Nodes:** 2: n1, n2\n"
        "\n| Name | Energy \\[Wh\\] |\n| --- | ---: |\n"
        "| train | \N{GREATER-THAN OR EQUAL TO} 1.83 |\n|  | **1.83** |\n"
        "\nFirst.\n\nSecond.\n"
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a|b", r"a\|b"),
        ("<b>x</b>", r"\<b\>x\</b\>"),
        ("a'; rm -rf ~ #", r"a'; rm -rf \~ #"),
        ("[x](y) `z` *w* _v_ &lt; $k$", r"\[x\](y) \`z\` \*w\* \_v\_ \&lt; \$k\$"),
        ("back\\slash", r"back\\slash"),
    ],
)
def test_no_text_is_markup(text: str, written: str) -> None:
    assert rendered(Made([Notes((note(text),))]), "markdown") == f"{written}\n"
    table = Table([Column(text, "text")])
    table.add([text])
    assert rendered(Made([table]), "markdown") == f"| {written} |\n| --- |\n| {written} |\n"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("# heading", r"\# heading"),
        ("## heading", r"\## heading"),
        ("- item", r"\- item"),
        ("---", r"\---"),
        ("12. item", r"12\. item"),
        ("-5 %", "-5 %"),
        ("0.5 Wh", "0.5 Wh"),
        ("#1", "#1"),
    ],
)
def test_no_sentence_is_a_heading_or_a_list(text: str, written: str) -> None:
    assert rendered(Made([Notes((note(text),))]), "markdown") == f"{written}\n"
    table = Table([Column("Name", "text")])
    table.add([text])
    assert rendered(Made([table]), "markdown").endswith(f"| {text} |\n")
