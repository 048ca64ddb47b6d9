"""Names show as they are, whatever they hold."""

from string import punctuation

from fader.markdown import escape, table


def test_plain_text_stays_plain() -> None:
    assert escape("Smiling, absent (or present) 5%") == "Smiling, absent (or present) 5%"


def test_what_means_something_is_escaped() -> None:
    assert escape("1. 99.5% www.example.org") == r"1\. 99.5% www\.example\.org"
    assert escape("5_o_Clock") == r"5\_o\_Clock"
    assert escape("[a](http://b) <b> | `c` # **d**") == r"\[a\](http\://b) \<b\> \| \`c\` \# \*\*d\*\*"
    # A backslash may stand before all ASCII punctuation, so undoing them gives the text back.
    assert escape(punctuation).replace("\\\\", "\0").replace("\\", "").replace("\0", "\\") == punctuation


def test_a_name_stays_on_its_line() -> None:
    assert escape("a\n\n# b\r\n\tc ") == r"a \# b c"


def test_tables() -> None:
    expected = "| name | a\\_b |\n| --- | --- |\n| x\\|y | 0.5 |\n| -1 | \\-1 |\n"
    assert table(("name", "a_b"), [("x|y", 0.5), (-1, "-1")]) == expected
