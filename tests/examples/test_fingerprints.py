"""The same files by the same code need not be cleaned twice; another file, or another version of one, must."""

from __future__ import annotations

LANDED = [
    {"path": "/Volumes/flights/raw/landing/flights-2013-01.csv", "file_size": 10, "last_modified": 1},
    {"path": "/Volumes/flights/raw/landing/weather-2013-01.csv", "file_size": 20, "last_modified": 1},
]


def test_the_same_files_have_the_same_fingerprint_in_any_order() -> None:
    from flight_delays.fingerprints import of_landed

    assert of_landed(LANDED) == of_landed(LANDED[::-1])


def test_a_new_file_and_a_file_replaced_have_another() -> None:
    from flight_delays.fingerprints import of_landed

    later = {**LANDED[1], "last_modified": 2}
    assert len({of_landed(LANDED), of_landed(LANDED[:1]), of_landed([LANDED[0], later])}) == 3
