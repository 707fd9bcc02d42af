"""What people do with places and people: services and their sites, users, sessions, views, drills, settings. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from . import messages as m
from . import views
from .commanding import Commanded, check_name
from .deciding import Policy
from .errors import Invalid, NotAllowed, NotFound, Refused
from .lanes import ROLES, Service
from .ledger import Detail, OneTimeLink, SavedView, ServiceEvent, SignIn, make_id
from .lifecycle import Reason, Status
from .recurrence import check_zone
from .roles import Grant, Right, checked
from .state import State

MOST_SLOTS = 100_000


class OnPlaces(Commanded):
    def __init__(self, state: State | None = None, policy: Policy | None = None) -> None:
        super().__init__(state, policy)
        self._views: dict[str, SavedView] = {}

    def recall(self, kept: Iterable[SavedView]) -> None:
        """Take over the saved views that were read back after a restart."""
        self._views = {view.view_id: view for view in kept}

    def _add_business(self, action: m.AddBusiness) -> m.Outcome:
        self._require(Right.FOUND, None, None)
        check_name("business", action.name, self.state.businesses)
        number = 1 + max((b.no for b in self.state.businesses.values()), default=0)
        self._topology(make_id(number, 1), action.name, None, None, "business_added", None)
        self._audit("add", "business", action.name, action.name)
        return m.Outcome(changed=[action.name])

    def _add_site(self, action: m.AddSite) -> m.Outcome:
        self._require(Right.SERVE, action.business, None)
        business = self._business(action.business)
        check_name("site", action.name, business.sites)
        check_zone(action.zone)
        detail = {"zone": action.zone, "archive": action.archive}
        self._topology(business.next_event(), action.business, action.name, None, "site_added", detail)
        self._audit("add", "site", action.name, action.business, action.name, after=detail)
        return m.Outcome(changed=[action.name])

    def _add_service(self, action: m.AddService) -> m.Outcome:
        self._require(Right.SERVE, action.business, action.site)
        business = self._business(action.business)
        if (action.business, action.name) in self.queues.services:
            raise Refused(f"There is a service “{action.name}” in {action.business} already")
        check_name("service", action.name, [name for b, name in self.queues.services if b == action.business])
        if action.role not in ROLES:
            raise NotFound.named("role", action.role, ROLES)
        if (action.role == "processor") != (action.site is None):
            raise Invalid("A processor belongs to the business; every other service belongs to a site")
        if action.site is not None and action.site not in business.sites:
            raise NotFound.named("site", action.site, business.sites)
        if action.site is not None and business.sites[action.site].archive:
            raise Invalid(f"{action.site} is an archive of imported history; nothing can run there")
        _check_slots(action.name, action.slots)
        detail = {"role": action.role, "slots": action.slots, "executor": action.executor}
        self._topology(business.next_event(), action.business, action.site, action.name, "service_added", detail)
        self._audit("add", "service", action.name, action.business, action.site, after=detail)
        return m.Outcome(changed=[action.name])

    def _topology(
        self, event_id: int, business: str, site: str | None, service: str | None, event: str, detail: Detail | None
    ) -> None:
        assert self._request is not None
        self._record(
            ServiceEvent(
                event_id, self._step.now, business, site, service, event, None, self._actor, self._request.request_id,
                detail,
            )
        )

    def _set_service(self, action: m.SetService) -> m.Outcome:
        service = self.queues.services.get((action.business, action.service))
        if not self._may(Right.SERVE, action.business, service.site if service else None):
            raise NotAllowed(f"You may not {Right.SERVE} at {action.business}, or not this one; nothing was changed")
        if service is None:
            names = [name for business, name in self.queues.services if business == action.business]
            raise NotFound.named("service", action.service, names)
        if action.state not in (None, "online", "draining", "offline"):
            raise NotFound.named("state", action.state, ("online", "draining", "offline"))
        if action.slots is not None:
            _check_slots(action.service, action.slots)
        before = {"state": service.wanted, "slots": service.slots}
        if action.slots is not None and action.slots != service.slots:
            self._service_event(service, "slots", self._actor, action.reason, {"slots": action.slots})
        if action.state is not None and action.state != service.wanted:
            self._service_event(service, action.state, self._actor, action.reason)
            if action.state == "offline":
                self._clear_out(service)
        after = {"state": service.wanted, "slots": service.slots}
        self._audit("set", "service", service.name, service.business, service.site, before=before, after=after,
                    reason=action.reason)
        return m.Outcome(changed=[service.name])

    def _clear_out(self, service: Service) -> None:
        """Put back what runs on a service that a person took offline; that is no failed attempt."""
        for task in sorted(service.running.values(), key=lambda t: t.id):
            if task.status is not Status.STOPPING:
                assert task.lease is not None
                self._step.orders.append(
                    m.StopOrder(service.executor, service.business, service.name, task.id, task.lease)
                )
                self._rescue(task, Reason.SERVICE_OFFLINE, task.attempt)

    def _note_drill(self, action: m.NoteDrill) -> m.Outcome:
        self._require(Right.DRILL, None, None)
        self._business(action.business)
        self._audit(action.verb, "drill", action.drill, action.business, action.site, after=action.given)
        return m.Outcome(changed=[action.drill])

    def _note_setting(self, action: m.NoteSetting) -> m.Outcome:
        self._require(Right.SETTINGS, None, None)
        self._audit(
            "set", "setting", action.setting, None, before=action.before, after=action.after, reason=action.reason
        )
        return m.Outcome(changed=[action.setting])

    def _keep_users(self, action: m.KeepUsers) -> m.Outcome:
        """Who keeps a user manages users wherever that one's grants reach: else he would hand out more than he has."""
        kept = [(account.name, account.grants) for account in action.accounts]
        before = action.before if action.before is not None and "grants" in action.before else None
        if before is not None:
            kept.append((action.user, before))
        places = {grant.business for name, grants in kept for grant in _granted(name, grants)}
        # Of a user with roles in several businesses nobody but these need be asked.
        asked = places if len(places) > 1 and action.business is None else {*places, action.business}
        for business in sorted(asked, key=str):
            self._require(Right.USERS, business, None)
        for account in action.accounts:
            for _, where, site in _granted(account.name, account.grants):
                if where is not None and site not in (None, *self._business(where).sites):
                    raise NotFound.named(f"site in {where}", site, self._business(where).sites)
        owned: tuple[SignIn | OneTimeLink, ...] = (*action.sign_ins, *action.links)
        if ({row.name for row in action.accounts} | {row.account for row in owned}) - {action.user}:
            raise NotAllowed(f"This is kept of {action.user} alone; nothing was changed")
        rows = self._step.rows
        rows.account += action.accounts
        rows.one_time_link += action.links
        rows.sign_in += action.sign_ins
        self._audit(
            action.verb, "user", action.user, action.business, before=action.before, after=action.after,
            reason=action.reason,
        )
        return m.Outcome(changed=[action.user])

    def _keep_sign_in(self, action: m.KeepSignIn) -> m.Outcome:
        """Everybody may, for himself and with what he has already; nobody for another."""
        owned: tuple[SignIn | OneTimeLink, ...] = (*action.sign_ins, *action.links)
        whose = {row.account for row in owned} | {account.name for account in action.accounts}
        assert self._request is not None
        kept = {grant for account in action.accounts for grant in _granted(account.name, account.grants)}
        if whose != {self._actor} or not kept.issubset(self._request.grants):
            raise NotAllowed
        if action.business is not None and {grant.business for grant in self._request.grants} != {action.business}:
            raise NotAllowed
        rows = self._step.rows
        rows.sign_in += action.sign_ins
        rows.account += action.accounts
        rows.one_time_link += action.links
        self._audit(action.verb, "user", self._actor, action.business, after=action.after)
        return m.Outcome(changed=[self._actor])

    def _note_use(self, action: m.NoteUse) -> m.Outcome:
        self._require(Right.USERS, None, None)
        self._step.rows.sign_in += action.sign_ins
        return m.Outcome(changed=[sign_in.account for sign_in in action.sign_ins])

    def _note_refused(self, action: m.NoteRefused) -> m.Outcome:
        self._require(Right.USERS, None, None)
        for one in action.refused:
            told = {"address": one.address, "by": one.by, "at": one.at}
            self._audit("sign_in", "user", one.user, one.business, outcome=one.why, after=told)
        return m.Outcome(changed=[one.user for one in action.refused])

    def _keep_view(self, action: m.KeepView) -> m.Outcome:
        assert self._request is not None
        if action.business is not None:
            views.require_sharing(self._request.grants, action.business)
            self._business(action.business)
        return self._put_view("keep", views.kept(self._views, action, self._request, self._step.now), None)

    def _drop_view(self, action: m.DropView) -> m.Outcome:
        assert self._request is not None
        change = views.dropped(self._views, action, self._request, self._step.now)
        return self._put_view("drop", change, action.reason)

    def _put_view(self, verb: str, change: views.Change, reason: str | None) -> m.Outcome:
        before, after = change
        if after.removed:
            del self._views[after.view_id]
        else:
            self._views[after.view_id] = after
        self._step.rows.saved_view.append(after)
        shared = {view.business for view in (before, after) if view is not None and view.business is not None}
        home = shared.pop() if len(shared) == 1 else None
        self._audit(
            verb, "view", after.view_id, home, before=None if before is None else views.as_detail(before, home),
            after=None if after.removed else views.as_detail(after, home), reason=reason,
        )
        return m.Outcome(changed=[after.view_id])


def _granted(name: str, grants: Detail) -> list[Grant]:
    try:
        found = [checked(*grant) for grant in grants["grants"]]
    except (KeyError, TypeError):
        found = None
    if found is None or not all(isinstance(place, str | None) for grant in found for place in grant[1:]):
        raise Invalid(f"The grants of {name} are not as they are kept")
    return found


def _check_slots(name: str, slots: int) -> None:
    if not 1 <= slots <= MOST_SLOTS:
        raise Invalid(f"{name} can't have {slots} slots; it has 1 to {MOST_SLOTS:,}")
