from dataclasses import replace

import pytest

from service.cursor import MOST_SHOWN, Cursors, Page, tweet_hash
from service.errors import CursorExpired, InvalidCursor

CURSORS = Cursors(b"k" * 32)
PAGE = Page("u1", "v1", "followees", "followees", 1_764_000_000_123, frozenset(map(tweet_hash, "abc")))


def test_a_page_is_read_as_it_was_written() -> None:
    assert CURSORS.read(CURSORS.write(PAGE), "u1", "followees", "v1") == PAGE


def test_the_fullest_cursor_fits_into_a_url() -> None:
    shown = frozenset(tweet_hash(str(number)) for number in range(MOST_SHOWN))
    full = Page("u" * 64, "v" * 64, "discover", "discover", 2**62, shown)
    cursor = CURSORS.write(full)
    assert len(cursor) < 5_000
    assert CURSORS.read(cursor, "u" * 64, "discover", "v" * 64) == full
    assert len(shown) == MOST_SHOWN


@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_changed_cursor_is_refused(place: int) -> None:
    cursor = list(CURSORS.write(PAGE))
    cursor[place] = "A" if cursor[place] != "A" else "B"
    with pytest.raises(InvalidCursor, match="cursor"):
        CURSORS.read("".join(cursor), "u1", "followees", "v1")


@pytest.mark.parametrize("more", ["=", "\n", "!", "A"])
@pytest.mark.parametrize("user_id", ["u1", "u12", "u123"])
def test_a_cursor_that_decodes_to_the_same_is_refused_all_the_same(user_id: str, more: str) -> None:
    page = replace(PAGE, user_id=user_id)
    cursor = CURSORS.write(page)
    assert CURSORS.read(cursor, user_id, "followees", "v1") == page
    for changed in (cursor + more, cursor[:5] + more + cursor[5:]):
        with pytest.raises(InvalidCursor, match="cursor"):
            CURSORS.read(changed, user_id, "followees", "v1")
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".replace(cursor[-1], ""):
        with pytest.raises(InvalidCursor, match="cursor"):
            CURSORS.read(cursor[:-1] + last, user_id, "followees", "v1")


@pytest.mark.parametrize("cursor", ["", ".", "x", "ä", "\ud800", "a.b.c", "A" * 8_000])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursor, match="cursor"):
        CURSORS.read(cursor, "u1", "followees", "v1")


def test_another_key_s_cursor_is_refused() -> None:
    with pytest.raises(InvalidCursor):
        CURSORS.read(Cursors(b"x" * 32).write(PAGE), "u1", "followees", "v1")


def test_a_cursor_of_another_request_is_refused() -> None:
    cursor = CURSORS.write(PAGE)
    with pytest.raises(InvalidCursor, match="u1"):
        CURSORS.read(cursor, "u2", "followees", "v1")
    with pytest.raises(InvalidCursor, match="followees"):
        CURSORS.read(cursor, "u1", "discover", "v1")


def test_a_cursor_of_a_retired_version_has_expired() -> None:
    with pytest.raises(CursorExpired, match="v1"):
        CURSORS.read(CURSORS.write(PAGE), "u1", "followees", "v2")
