"""Lazy tables of requests."""

from __future__ import annotations

from ..core.errors import BadUse
from . import series
from .profile import Profile, measure
from .records import Records, Source
from .shape import Shaping
from .times import Time


class Requests(Shaping):
    """A lazy table of requests, with the canonical columns."""

    def rate(self, per: Time = "1s") -> Records:
        """Return requests and tokens per bin of time, bins without requests included; see `series.rate`."""
        return series.rate(self, per)

    def profile(self) -> Profile:
        """Return what a workload looks like in figures, as docs/profile.md defines them."""
        return measure(self)


def open_records(source: Source) -> Records:
    """Return the table of workloads whose content is here. Raises BadUse for several that are not all requests."""
    are_requests = {each.is_requests for each in source.workloads}
    if len(source.workloads) > 1 and are_requests != {True}:
        others = [str(each) for each in source.workloads if not each.is_requests]
        raise BadUse(
            ", ".join(others),
            "not a table of requests, so it can't be one table with others",
            next=f"open it by itself: lta.open({others[0]!r})",
        )
    return (Requests if are_requests == {True} else Records)(source, source.sql)
