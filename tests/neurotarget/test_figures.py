"""How figures are written."""

import pytest

from neurotarget.figures import interval, percent, plus_minus, prefixed, rounded


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (0, "0"),
        (0.0, "0"),
        (1.23456, "1.23"),
        (-12.345, "-12.3"),
        (99.949, "99.9"),
        (99.96, "100"),
        (100.5, "100"),
        (1234.5, "1\u202f234"),
        (-1234567, "-1\u202f234\u202f567"),
        (0.001, "0.001"),
        (0.00099, "9.90e-04"),
    ],
)
def test_three_digits(value, written):
    assert rounded(value) == written


def test_ranges_shares_spreads_and_prefixes():
    assert interval([4, 2.5, 1.2345]) == "1.23 to 4"
    assert interval([1.2341, 1.2342]) == "1.23"
    assert interval([]) == "–"
    assert (percent(0.12345), percent(1), percent(None)) == ("12.3 %", "100 %", "–")
    assert (plus_minus(0.5, 0.012, 3), plus_minus(0.5, None, 2, 10)) == ("0.500 ± 0.012", "5.00")
    assert [prefixed(value) for value in (999, 1000, 1.234e6, 5e9, -2e3)] == ["999", "1 k", "1.23 M", "5 G", "-2 k"]
