"""What is seen of replicas that one of several activators runs: by that one, and by the others.

Decides what a deed, what its holder tells in it, and what a tenure here sees, mean together. It
keeps nothing; when it is looked at, and what is done, is `owned`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.core.effects import FailedStart
from activator.drivers.base import Exit, Phase, Snapshot
from activator.drivers.tenure import KEPT_EXITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activator.drivers.base import Sighting
    from activator.drivers.published import Published
    from activator.drivers.tenure import Tenure
    from activator.drivers.title import Title


def seen(
    name: str,
    title: Title,
    told: Published,
    *,
    tenure: Tenure | None,
    former: Iterable[Tenure],
    lasting: bool,
) -> Snapshot:
    """`told`: in the deed. `tenure`: of this activator, while it holds the deed; `former`: those of
    which it has to let others finish. `lasting`: replicas outlive who runs them."""
    deed = title.deed
    finishing = () if lasting else (each for one in former for each in one.last_sightings)
    wanted, replicas, exits = _seen(name, title, told, tenure=tenure, lasting=lasting)
    has_looked = tenure is not None and tenure.has_begun
    return Snapshot(
        wanted,
        (*replicas, *finishing),
        exits,
        fence=deed.fence_word,
        trouble=tenure.trouble if tenure is not None else told.trouble,
        # nobody has looked yet, and there may be what outlived an earlier owner
        is_blind=lasting and not (has_looked or deed.told),
    )


def _seen(
    name: str, title: Title, told: Published, *, tenure: Tenure | None, lasting: bool
) -> tuple[int, tuple[Sighting, ...], tuple[Exit, ...]]:
    deed = title.deed
    if tenure is not None and (tenure.has_begun or not lasting):
        wanted = deed.wanted if deed.number > tenure.taken else tenure.wanted
        return wanted, tenure.replicas, tenure.exits
    if lasting:
        return deed.wanted, told.replicas, told.exits
    if deed.holder == title.me:  # just claimed
        return deed.wanted, (), told.exits
    if title.is_lost:
        why = FailedStart("the activator that ran it has ended or does not answer")
        gone = [each.id for each in told.replicas if each.phase is not Phase.STOPPING]
        if deed.wanted and not gone:
            gone = [f"{name}-{deed.term}"]  # asked for, and never seen
        ends = tuple(Exit(each, why) for each in gone)
        return 0, (), (*told.exits, *ends)[-KEPT_EXITS:]
    return deed.wanted, told.replicas, told.exits
