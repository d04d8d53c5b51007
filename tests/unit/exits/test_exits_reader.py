import pytest

from harness.errors import HostError
from harness.exits.model import difference
from harness.exits.reader import parse
from harness.results.model import ExitCount

DOCUMENT = {"taken_at": 123.5, "dropped": 0, "guests": {"g1": [[0, "hlt", 10], [1, "npf", 4]], "g2": []}}


def test_reading() -> None:
    reading = parse(DOCUMENT, "host1")
    assert reading.of("g1") == (ExitCount(0, "hlt", 10), ExitCount(1, "npf", 4))
    assert reading.of("g2") == reading.of("unknown") == ()
    assert (reading.taken_at, reading.dropped) == (123.5, 0)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        DOCUMENT | {"guests": [1]},
        DOCUMENT | {"guests": {"g": [[0, "hlt"]]}},
        DOCUMENT | {"dropped": None},
    ],
)
def test_something_else_is_an_error_of_the_host(document: object) -> None:
    with pytest.raises(HostError, match="host1") as caught:
        parse(document, "host1")
    assert "provision" in caught.value.fix


def test_difference_keeps_what_moved() -> None:
    before = (ExitCount(0, "hlt", 10), ExitCount(0, "npf", 4))
    after = (ExitCount(0, "hlt", 15), ExitCount(0, "npf", 4), ExitCount(1, "msr", 2))
    assert difference(before, after) == (ExitCount(0, "hlt", 5), ExitCount(1, "msr", 2))
    assert difference((), after) == after
    assert difference(after, after) == ()


@pytest.mark.parametrize("after", [(ExitCount(0, "hlt", 9),), ()])
def test_counters_that_went_back_are_refused(after: tuple[ExitCount, ...]) -> None:
    with pytest.raises(ValueError, match=r"went back|vanished"):
        difference((ExitCount(0, "hlt", 10),), after)
