"""What people do with blackout windows: create, edit, remove. Pure.

A window concerns the times to come: what it holds just now stays as it was placed, unless the window is removed. When
it occurs, and what became of each time, is the machine's.
"""

from __future__ import annotations

from . import messages as m
from .clock import SECOND
from .commanding import Commanded, check_name
from .errors import Invalid, NotFound, Refused
from .ledger import BlackoutEvent, Detail
from .roles import Right
from .state import Blackout, blackout_to_detail


class OnBlackouts(Commanded):
    def _create_blackout(self, action: m.CreateBlackout) -> m.Outcome:
        spec = action.spec
        self._check_blackout(spec, None)
        blackout_id = self.state.businesses[spec.business].next_event()
        self._blackout_event(blackout_id, "created", 1, spec, blackout_to_detail(spec))
        self._arm_blackout(self.state.blackouts[blackout_id])
        self._audit("create", "blackout", blackout_id, spec.business, spec.site, after=_told(spec))
        return m.Outcome(changed=[blackout_id])

    def _edit_blackout(self, action: m.EditBlackout) -> m.Outcome:
        blackout = self._blackout(action.blackout)
        if blackout.version != action.version:
            raise Refused(
                f"Somebody changed this window meanwhile (version {blackout.version}, yours {action.version})"
            )
        old, new = blackout.spec, action.spec
        if (old.business, old.site) != (new.business, new.site):
            raise Invalid("A blackout window stays in its business and site")
        self._check_blackout(new, blackout.id)
        self._blackout_event(blackout.id, "edited", blackout.version + 1, new, blackout_to_detail(new))
        self._arm_blackout(self.state.blackouts[blackout.id])
        self._audit("edit", "blackout", blackout.id, new.business, new.site, before=_told(old), after=_told(new))
        return m.Outcome(changed=[blackout.id])

    def _remove_blackout(self, action: m.RemoveBlackout) -> m.Outcome:
        blackout = self._blackout(action.blackout)
        spec = blackout.spec
        self._blackout_event(blackout.id, "removed", blackout.version + 1, spec, None)
        self._audit("remove", "blackout", blackout.id, spec.business, spec.site, before=_told(spec),
                    reason=action.reason)
        placed = [hold for hold in self.state.holds.values() if hold.blackout == blackout.id]
        for hold in sorted(placed, key=lambda hold: hold.id):
            self._end_hold(hold, "lifted", self._actor, self._step.now, action.reason)
            self._audit("lift", "site", spec.site, spec.business, spec.site, reason=action.reason,
                        before={"hold_id": hold.id})
        return m.Outcome(changed=[blackout.id, *sorted(hold.id for hold in placed)])

    def _blackout(self, blackout_id: int) -> Blackout:
        blackout = self.state.blackouts.get(blackout_id)
        if blackout is None or not self._may(Right.HOLD, blackout.spec.business, blackout.spec.site):
            raise NotFound("There is no such blackout window, or it was removed")
        return blackout

    def _check_blackout(self, spec: m.BlackoutSpec, own: int | None) -> None:
        self._require(Right.HOLD, spec.business, spec.site)
        sites = self._business(spec.business).sites
        if spec.site not in sites:
            raise NotFound.named("site", spec.site, sites)
        if sites[spec.site].archive:
            raise Invalid(f"{spec.site} is an archive of imported history; nothing runs there that could be held")
        others = [b.spec.name for b in self.state.blackouts.values()
                  if b.id != own and (b.spec.business, b.spec.site) == (spec.business, spec.site)]  # fmt: skip
        check_name("blackout window", spec.name, others)
        spec.rule.check()
        if not m.SHORTEST_BLACKOUT <= spec.duration_s * SECOND <= m.LONGEST_BLACKOUT:
            raise Invalid("A blackout window lasts from 1 minute to 7 days")
        if spec.piles_up(self._step.now):
            raise Invalid(
                "This window would occur a third time before its first hold is over: make it shorter, or have it occur "
                "less often"
            )

    def _blackout_event(
        self, blackout_id: int, event: str, version: int, spec: m.BlackoutSpec, detail: Detail | None
    ) -> None:
        assert self._request is not None
        self._record(
            BlackoutEvent(
                self.state.businesses[spec.business].next_event(), self._step.now, blackout_id, event, version,
                spec.business, spec.site, spec.name, self._actor, self._request.request_id, detail,
            )
        )


def _told(spec: m.BlackoutSpec) -> Detail:
    """Write a window for the audit trail."""
    return {"name": spec.name, **blackout_to_detail(spec)}
