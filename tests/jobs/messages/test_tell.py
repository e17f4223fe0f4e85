"""Telling the portal, where its answers do not come."""

from __future__ import annotations

from dataclasses import replace

from tests.worlds.portals import NO_WAITING, portal_world


def test_after_an_answer_that_never_came_the_final_word_is_told_once_more() -> None:
    """The batch that was given up may still run there, after the one that told a newer word."""
    with portal_world(timing=replace(NO_WAITING, push_repeat_s=60)) as world:
        world.install()
        world.portal.add_fault(method="batch", kind="lost", count=1)
        message = world.message_that_fails()
        world.work()

        for _ in range(4):
            world.pass_time(minutes=2)
            world.sweep()

        assert world.told(message) == ["failed"]
        assert world.calls("batch", "ok") == 3  # the lost one, the word, and the word once more
