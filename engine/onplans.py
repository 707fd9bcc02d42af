"""What people do with holds, throttles and schedules: pause, resume, cap; create, edit, remove, run now. Pure."""

from __future__ import annotations

from . import messages as m
from .commanding import check_instant
from .errors import Invalid, NotAllowed, NotFound, Refused
from .holds import Hold, Throttle
from .ledger import Detail, ScheduleEvent
from .lifecycle import REPORTS, Kind, named_report, own_name
from .ontasks import OnTasks
from .roles import Right
from .state import Business, Schedule, spec_to_detail
from .task import SYSTEM_OWNER

FASTEST = 600  #: tasks a minute of a ramp: faster is no ramp, and each start costs what all that it keeps back costs
MOST_AT_ONCE = 10_000  #: of a cap


class OnPlans(OnTasks):
    def _place_holds(self, action: m.PlaceHolds) -> m.Outcome:
        sites = [self._held_at(action, target) for target in action.targets]
        if not sites or any(target.kind != "schedule" for target in action.targets):
            self._require(Right.HOLD, action.business, action.site)
        now = self._step.now
        check_instant("begin of a hold", action.from_at)
        check_instant("end of a hold", action.until_at)
        from_at = max(now, action.from_at or now)
        if action.until_at is not None and action.until_at <= from_at:
            raise Invalid("A hold must end after it begins")
        if action.business is not None and action.business not in self.state.businesses:
            raise NotFound.named("business", action.business, self.state.businesses)
        if action.business is None and any(t.kind != "kind" for t in action.targets):
            raise Invalid("Only a task type can be held system-wide")
        known = self._business(action.business).sites if action.business is not None else ()
        for site in (action.site, *sites):
            if site is not None and site not in known:
                raise NotFound.named("site", site, known)
        for target in action.targets:
            _check_target(target)
        placed: list[int] = []
        for target, site in zip(action.targets, sites, strict=True):
            business = self.state.business(action.business)
            hold = Hold(
                business.next_event(), action.business, site, target.kind, target.name, action.reason,
                self._actor, from_at, action.until_at, action.suspend,
            )
            self._hold_event(hold, "placed", self._actor, now, action.reason)
            hold = self.state.holds[hold.id]
            if from_at == now:
                self._begin_hold(hold, now)
            self._arm_hold(hold)
            placed.append(hold.id)
            self._audit(
                "hold", target.kind, target.name, action.business, site, reason=action.reason,
                after={"hold_id": hold.id, "until_at": action.until_at, "suspend": action.suspend},
            )
        return m.Outcome(changed=placed)

    def _held_at(self, action: m.PlaceHolds, target: m.HoldTarget) -> str | None:
        """Tell at which site a hold is: a schedule's own, and then it is for who may change schedules there."""
        if target.kind == "site":
            if action.site not in (None, target.name):
                raise Invalid(f"A hold on the site {target.name} is at that site, not at {action.site}")
            return target.name
        if target.kind != "schedule" or action.business is None:
            return action.site
        schedule = self.state.schedules.get(int(target.name)) if _is_number(target.name) else None
        spec = schedule.spec if schedule is not None else None
        if (
            spec is None
            or (spec.business, spec.site) != (action.business, action.site or spec.site)
            or not self._may(Right.SCHEDULE, spec.business, spec.site)
        ):
            raise NotFound.named("schedule", target.name)
        return spec.site

    def _lift_holds(self, action: m.LiftHolds) -> m.Outcome:
        """Lift the holds that were listed; whatever was placed meanwhile stays."""
        if action.rate is not None and not 1 <= action.rate <= FASTEST:
            raise Invalid(f"Tasks are released gradually at 1 to {FASTEST} a minute")
        changed: list[int | str] = []
        skipped: list[tuple[int | str, str]] = []
        lifted: list[Hold] = []
        for hold_id in dict.fromkeys(action.holds):
            hold = self.state.holds.get(hold_id)
            if hold is None or not self._may(_right_over(hold), hold.business, hold.site):
                skipped.append((hold_id, "already ended"))
                self._audit("lift", "hold", hold_id, None, outcome="already ended", before={"hold_id": hold_id})
                continue
            if hold.begun:
                lifted.append(hold)
            self._end_hold(hold, "lifted", self._actor, self._step.now, action.reason)
            changed.append(hold_id)
            self._audit("lift", hold.target_kind, hold.target, hold.business, hold.site, reason=action.reason,
                        before={"hold_id": hold_id}, after=None if action.rate is None else {"rate": action.rate})
        if action.rate is not None and lifted:
            self._begin_ramp(lifted, action.rate, self._actor, action.reason)
        self._release_owed()
        return m.Outcome(changed=changed, skipped=skipped)

    def _end_ramps(self, action: m.EndRamps) -> m.Outcome:
        """Let go what the ramps that were listed still keep back."""
        changed: list[int | str] = []
        skipped: list[tuple[int | str, str]] = []
        for ramp_id in dict.fromkeys(action.ramps):
            ramp = self.queues.throttles.get(ramp_id)
            if ramp is None or ramp.rate is None or not self._may_end(ramp):
                skipped.append((ramp_id, "already ended"))
                self._audit("release", "ramp", ramp_id, None, outcome="already ended")
                continue
            before = {"rate": ramp.rate, "left": ramp.left}
            self._end_throttle(ramp, self._actor, action.reason or "lifted")
            changed.append(ramp_id)
            self._audit("release", "ramp", ramp_id, ramp.business, ramp.site, reason=action.reason, before=before)
        return m.Outcome(changed=changed, skipped=skipped)

    def _may_end(self, ramp: Throttle) -> bool:
        """Tell whether the actor might have lifted all the holds that the ramp came after."""
        return all(
            self._may(Right.SCHEDULE if kind == "schedule" else Right.HOLD, business, site)
            for business, site, kind, _ in ramp.over
        )

    def _set_cap(self, action: m.SetCap) -> m.Outcome:
        business, user = self._business_to_cap(action.business, action.user)
        if not 1 <= action.at_most <= MOST_AT_ONCE:
            raise Invalid(f"A cap is 1 to {MOST_AT_ONCE:,} running tasks; to stop all, pause the user")
        cap = self.queues.caps.get((action.business, user))
        before = None if cap is None else {"at_most": cap.at_most}
        if cap is None:
            cap = Throttle(
                business.next_event(), action.business, None, user, None, action.at_most,
                [(action.business, None, "user", user)], (), action.reason, self._actor, self._step.now,
            )
            self._throttle_event(cap, "begun", self._actor, action.reason, detail={"over": cap.over})
        else:
            self._throttle_event(cap, "changed", self._actor, action.reason, at_most=action.at_most)
        self._audit("cap", "user", user, action.business, reason=action.reason, before=before,
                    after={"at_most": action.at_most})
        return m.Outcome(changed=[user])

    def _remove_cap(self, action: m.RemoveCap) -> m.Outcome:
        _, user = self._business_to_cap(action.business, action.user)
        cap = self.queues.caps.get((action.business, user))
        if cap is None:
            raise NotFound(f"There is no cap on {user}, or it was removed")
        self._end_throttle(cap, self._actor, action.reason)
        self._audit("uncap", "user", user, action.business, reason=action.reason, before={"at_most": cap.at_most})
        return m.Outcome(changed=[user])

    def _business_to_cap(self, name: str, user: str) -> tuple[Business, str]:
        self._require(Right.HOLD, name, None)
        business = self._business(name)
        if not user:
            raise Invalid("A cap needs a user that it is on")
        if user == SYSTEM_OWNER:
            raise Invalid("System tasks can't be capped; they are held by their type")
        return business, user

    def _create_schedule(self, action: m.CreateSchedule) -> m.Outcome:
        self._check_schedule(action.spec)
        self._check_owner(action.spec, None)
        schedule_id = self.state.businesses[action.spec.business].next_event()
        self._schedule_event(schedule_id, "created", 1, action.spec, spec_to_detail(action.spec))
        self._arm_schedule(self.state.schedules[schedule_id])
        self._audit("create", "schedule", schedule_id, action.spec.business, action.spec.site,
                    after=spec_to_detail(action.spec))
        return m.Outcome(changed=[schedule_id])

    def _edit_schedule(self, action: m.EditSchedule) -> m.Outcome:
        schedule = self._schedule(action.schedule)
        if schedule.version != action.version:
            raise Refused(
                f"Somebody changed this schedule meanwhile (version {schedule.version}, yours {action.version})"
            )
        old, new = schedule.spec, action.spec
        if (old.business, old.site) != (new.business, new.site):
            raise Invalid("A schedule stays in its business and site")
        self._check_schedule(new)
        self._check_owner(new, old.owner)
        self._schedule_event(schedule.id, "edited", schedule.version + 1, new, spec_to_detail(new))
        self._arm_schedule(self.state.schedules[schedule.id])
        self._audit("edit", "schedule", schedule.id, new.business, new.site, before=spec_to_detail(old),
                    after=spec_to_detail(new))
        return m.Outcome(changed=[schedule.id])

    def _remove_schedule(self, action: m.RemoveSchedule) -> m.Outcome:
        schedule = self._schedule(action.schedule)
        spec = schedule.spec
        self._schedule_event(schedule.id, "removed", schedule.version + 1, spec, None)
        self._audit("remove", "schedule", schedule.id, spec.business, spec.site, before=spec_to_detail(spec),
                    reason=action.reason)
        over = [h for h in self.state.holds.values() if (h.target_kind, h.target) == ("schedule", str(schedule.id))]
        for hold in sorted(over, key=lambda hold: hold.id):  # nobody would find them where the schedule is gone
            self._end_hold(hold, "lifted", self._actor, self._step.now, action.reason)
            self._audit("lift", "schedule", schedule.id, hold.business, hold.site, reason=action.reason,
                        before={"hold_id": hold.id})
        return m.Outcome(changed=[schedule.id, *sorted(hold.id for hold in over)])

    def _run_now(self, action: m.RunNow) -> m.Outcome:
        spec = self._schedule(action.schedule).spec
        new = m.NewTask(
            spec.business, spec.site, spec.kind, own_name(spec.kind, spec.name, spec.target), spec.owner, self._actor,
            spec.target, spec.target_kind, spec.scope, spec.requested_service, spec.priority, None, spec.longest_wait_s,
        )
        self._check_new(new, Right.SCHEDULE)
        task = self._submit(new, self.state.businesses[spec.business], self._actor, schedule_id=action.schedule)
        self._audit("run_now", "schedule", action.schedule, spec.business, spec.site, after={"task_id": task.id})
        return m.Outcome(changed=[task.id])

    def _schedule(self, schedule_id: int) -> Schedule:
        schedule = self.state.schedules.get(schedule_id)
        if schedule is None or not self._may(Right.SCHEDULE, schedule.spec.business, schedule.spec.site):
            raise NotFound("There is no such schedule, or it was removed")
        return schedule

    def _check_schedule(self, spec: m.ScheduleSpec) -> None:
        if not spec.name:
            raise Invalid("A schedule needs a name")
        spec.rule.check()
        if not spec.owner or spec.owner == SYSTEM_OWNER:
            raise Invalid("A schedule needs a person as its owner")  # whom a hold can pause
        if spec.on_hold not in ("skip", "queue_one"):
            raise NotFound.named("rule for runs under a hold", spec.on_hold, ("skip", "queue_one"))
        if not named_report(spec.kind, spec.name, spec.target):
            raise Invalid(f"A schedule of a report bears its name, or has it as its target: {', '.join(REPORTS)}")
        self._check_new(
            m.NewTask(
                spec.business, spec.site, spec.kind, own_name(spec.kind, spec.name, spec.target), spec.owner,
                "Schedule", priority=spec.priority, requested_service=spec.requested_service,
                longest_wait_s=spec.longest_wait_s,
            ),
            Right.SCHEDULE,
        )

    def _check_owner(self, spec: m.ScheduleSpec, before: str | None) -> None:
        """Whoever manages no users plans in his own name: else somebody's work could go on, under a hold on him."""
        if spec.owner not in (self._actor, before) and not self._may(Right.USERS, spec.business, None):
            raise NotAllowed(f"Schedules of others are for who manages the users of {spec.business} to plan")

    def _schedule_event(
        self, schedule_id: int, event: str, version: int, spec: m.ScheduleSpec, detail: Detail | None
    ) -> None:
        assert self._request is not None
        self._record(
            ScheduleEvent(
                self.state.businesses[spec.business].next_event(), self._step.now, schedule_id, event, version,
                spec.business, spec.site, spec.name, self._actor, self._request.request_id, detail,
            )
        )


def _check_target(target: m.HoldTarget) -> None:
    if target.kind not in ("user", "kind", "schedule", "site"):
        raise NotFound.named("kind of hold", target.kind, ("user", "kind", "schedule", "site"))
    if target.kind == "kind" and target.name not in list(Kind):
        raise NotFound.named("task type", target.name, list(Kind))
    if not target.name:
        raise Invalid("A hold needs somebody or something that it is on")
    if target.kind == "user" and target.name == SYSTEM_OWNER:
        raise Invalid("System tasks are held by their type, not as a user's")


def _right_over(hold: Hold) -> Right:
    """Tell which right ends a hold: pausing a schedule is a change of it."""
    return Right.SCHEDULE if hold.target_kind == "schedule" else Right.HOLD


def _is_number(text: str) -> bool:
    """Tell whether a text is an id as holds keep it."""
    return text.isascii() and text.isdecimal() and len(text) < 20 and not text.startswith("0")
