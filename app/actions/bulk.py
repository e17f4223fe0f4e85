"""One deed for many messages: counted first, begun by a person's word, stopped by another. Worked off by
`jobs/bulk`; the same for the pages and the commands."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Literal

from app.domain.bulk import Deed, count_of
from app.domain.portals import Portal
from app.services import Services
from app.store.bulk import jobs, selection
from app.store.bulk.jobs import Asker, Job
from app.store.messages.log import Filters

# What a person waits for; whatever is left to be counted then, the worker counts. By the clock on the wall: a
# database server counts in its own processor time, of which ours knows nothing.
COUNT_S = 0.15

Begun = Literal["begun", "before", "not_sure", "nothing", "too_many"]


def ask(
    services: Services,
    portal: Portal,
    deed: Deed,
    asker: Asker,
    *,
    key: str,
    filters: Filters,
    row_ids: Collection[int] = (),
    chosen: Mapping[str, str] | None = None,
    count_s: float | None = None,
) -> Job | None:
    """Freeze what fits, and count what would become of it. An export begins at once, all else waits for
    `begin`. With the `key` of an earlier job that one is returned: two clicks are one wish. What cannot be
    counted in `count_s` is left to the worker.

    None: so many jobs of the portal are under way that this one has to wait outside.
    """
    made = jobs.of_key(portal.id, key)
    if made is not None:
        return made
    if jobs.under_way(portal.id) >= jobs.WAITING_LIMIT:
        return None
    chosen_rows = selection.freeze(portal.id, filters, row_ids)
    tallies: Counter[str] = Counter()
    position, ends = None, time.monotonic() + (COUNT_S if count_s is None else count_s)
    while True:
        counted = selection.count_some(chosen_rows, deed, position, country=portal.settings.default_country)
        tallies.update(counted.tallies)
        position = counted.position
        if position is None or time.monotonic() > ends:
            break
    job = jobs.ask(
        chosen_rows,
        deed,
        asker,
        key=key,
        chosen=chosen or {},
        counted=tallies,
        position=position,
        now=services.now(),
    )
    if job.state.is_under_way:
        services.engine.hint("bulk", portal.id)
    return job


def begin(services: Services, job: Job, *, is_sure: bool) -> Begun:
    """A person saw the counts and said yes. `is_sure`: also to those that may arrive twice."""
    yes, ask_first = (count_of(job.counted, answer) for answer in ("yes", "ask"))
    if not yes and not ask_first:
        return "nothing"
    if not yes and not is_sure:
        return "not_sure"
    if jobs.begin(job.portal_id, job.id, is_sure=is_sure, now=services.now()):
        services.engine.hint("bulk", job.portal_id)
        return "begun"
    return "too_many" if jobs.under_way(job.portal_id) >= jobs.WAITING_LIMIT else "before"


def stop(services: Services, job: Job) -> bool:
    """What was done by then stays done. False when it is over already."""
    return jobs.stop(job.portal_id, job.id, now=services.now())
