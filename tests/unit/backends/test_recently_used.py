"""The small cache that CUDA graphs are kept in, without a GPU."""

import pytest

from restore_sdk.backends.torch_cuda import RecentlyUsed


def test_a_value_is_made_once() -> None:
    made: list[int] = []
    cache: RecentlyUsed[int, int] = RecentlyUsed(2)
    assert [cache.get(key, lambda key=key: made.append(key) or 10 * key) for key in (1, 2, 1, 2, 1)] == [10, 20, 10, 20, 10]
    assert made == [1, 2]


def test_the_one_not_asked_for_longest_goes() -> None:
    cache: RecentlyUsed[str, str] = RecentlyUsed(2)
    for key in ("a", "b", "a", "c"):
        cache.get(key, lambda key=key: key)
    remade: list[str] = []
    for key in ("a", "c", "b"):
        cache.get(key, lambda key=key: remade.append(key) or key)
    assert remade == ["b"]
    assert len(cache) == 2


def test_room_is_made_before_the_next_is() -> None:
    cache: RecentlyUsed[str, int] = RecentlyUsed(1)
    cache.get("a", lambda: 1)
    assert cache.get("b", lambda: len(cache)) == 0


def test_one_that_fails_to_be_made_leaves_nothing() -> None:
    cache: RecentlyUsed[str, int] = RecentlyUsed(2)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 // 0)
    assert len(cache) == 0
    assert cache.get("a", lambda: 5) == 5
    cache.clear()
    assert len(cache) == 0
