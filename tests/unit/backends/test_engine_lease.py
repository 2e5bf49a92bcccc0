"""Values that are used, replaced and closed by several threads."""

from __future__ import annotations

import pytest

from restore_sdk.backends.engine_lease import Leased
from restore_sdk.errors import RestorerClosedError


class Value:
    def __init__(self, events: list[str], name: str) -> None:
        self.events, self.name = events, name

    def close(self) -> None:
        self.events.append(self.name)


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def leased(events: list[str]) -> Leased[Value]:
    return Leased(Value(events, "first"), lambda: events.append("last"))


def test_closed_when_nobody_uses_it(leased: Leased[Value], events: list[str]) -> None:
    with leased.use() as value, leased.use() as again:
        assert value is again
        leased.close()
        assert events == []
    assert events == ["first", "last"]
    leased.close()
    assert events == ["first", "last"]
    with pytest.raises(RestorerClosedError), leased.use():
        pass


def test_a_replaced_value_lives_as_long_as_it_is_used(leased: Leased[Value], events: list[str]) -> None:
    with leased.use():
        leased.replace(lambda present: False, lambda present: Value(events, f"after {present.name}"))
        with leased.use() as present:
            assert present.name == "after first"
        leased.close()
        assert events == ["after first"]
    assert events == ["after first", "first", "last"]


def test_replaced_only_if_need_be(leased: Leased[Value], events: list[str]) -> None:
    leased.replace(lambda present: True, lambda present: pytest.fail("made in vain"))
    with leased.use() as value:
        assert value.name == "first"


def test_closed_while_another_is_made(leased: Leased[Value], events: list[str]) -> None:
    def make(present: Value) -> Value:
        leased.close()
        return Value(events, "second")

    with pytest.raises(RestorerClosedError):
        leased.replace(lambda present: False, make)
    assert events == ["second", "first", "last"]


def test_a_close_that_fails_is_still_the_last(events: list[str]) -> None:
    class Broken(Value):
        def close(self) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Leased(Broken(events, ""), lambda: events.append("last")).close()
    assert events == ["last"]
