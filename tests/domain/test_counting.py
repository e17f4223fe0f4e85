"""What workers count: nothing is counted twice, nothing is lost on the way."""

from __future__ import annotations

import pytest

from app.domain.counting import Counts, Series


def test_what_is_taken_is_taken_once() -> None:
    counts = Counts()
    counts.add("sms_lost_hints_total", 2)

    assert counts.take() == {Series("sms_lost_hints_total"): 2}
    assert counts.take() == {}


def test_what_could_not_be_kept_comes_with_the_next() -> None:
    counts = Counts()
    counts.add("sms_gateway_requests_total", gateway="acme", outcome="Accepted")
    taken = counts.take()
    counts.add("sms_gateway_requests_total", gateway="acme", outcome="Accepted")
    counts.give_back(taken)

    assert list(counts.take().values()) == [2]


@pytest.mark.parametrize(("seconds", "bucket"), [(0.1, "0.1"), (0.11, "0.25"), (1800.0, "1800.0")])
def test_an_observation_falls_into_the_smallest_bucket_that_holds_it(seconds: float, bucket: str) -> None:
    counts = Counts()
    counts.observe("lag", seconds)

    found = counts.take()
    assert found[Series("lag_bucket", (("le", bucket),))] == 1
    assert (found[Series("lag_sum")], found[Series("lag_count")]) == (seconds, 1)


def test_what_is_longer_than_all_buckets_is_counted_all_the_same() -> None:
    counts = Counts()
    counts.observe("lag", 1e6)

    assert set(counts.take()) == {Series("lag_sum"), Series("lag_count")}
