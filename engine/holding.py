"""Holds, blackout windows and throttles as they begin and end, and how long a task may wait. Pure.

What people ask for is in `onplans` and `onblackouts`; whom a hold or throttle is over, in `holds`. Every begin and end
bears its nominal instant, however late it is told. The longest wait of a task counts from joining, time under a hold
left out: an expiry that comes up under a hold is parked until nothing holds the task.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import messages as m
from .clock import SECOND
from .deciding import ENGINE, Deciding, Policy
from .holds import Hold, Throttle
from .lanes import Service
from .ledger import BlackoutFire
from .lifecycle import Reason, Status
from .state import Blackout, State, collecting_under
from .task import Task


class Holding(Deciding):
    def __init__(self, state: State | None = None, policy: Policy | None = None) -> None:
        super().__init__(state, policy)
        self._parked: dict[int, Task] = {}  #: expiries that wait for a hold to end

    # --- holds

    def _arm_hold(self, hold: Hold) -> None:
        if not hold.begun:
            self._set_timer(hold.from_at, "begin_hold", hold.id)
        if hold.until_at is not None:
            self._set_timer(hold.until_at, "end_hold", hold.id)

    def _begin_hold(self, hold: Hold, at: int) -> None:
        self._hold_event(hold, "begun", hold.actor, at)
        for ramp in [one for one in self.queues.throttles.values() if one.rate is not None]:
            if not any(queue.reaches_back(ramp.begun_at) for queue in self.queues.under(ramp) if not queue.holds):
                self._end_throttle(ramp, ENGINE, "held" if ramp.left else "released", at)
        if not hold.suspend:
            return
        for task in collecting_under(self.state, hold):
            if task.suspend is None:
                self._emit(task, "ask_to_suspend", ENGINE, Reason.HOLD, detail={"hold_id": hold.id}, at=at)
                self._ask_for_suspension(task, self.state.service(task))

    def _ask_for_suspension(self, task: Task, service: Service) -> None:
        assert task.lease is not None
        self._step.orders.append(m.SuspendOrder(service.executor, service.business, service.name, task.id, task.lease))
        self._set_deadline(self.policy.suspend_deadline, "suspend", task)

    def _end_hold(self, hold: Hold, event: str, actor: str, at: int, reason: str | None = None) -> None:
        self._hold_event(hold, event, actor, at, reason)
        if hold.suspend:
            for task in collecting_under(self.state, hold):
                if task.suspend == hold.id:
                    self._withdraw_suspension(task, at)
        self._unpark(at)

    def _withdraw_suspension(self, task: Task, at: int) -> None:
        """Let a task run on, unless another hold in force asks it to suspend as well."""
        over = self.queues.holds_over(task.business, task.site, task.kind, task.owner, task.schedule_id)
        other = next((hold for hold in over if hold.suspend), None)
        if other is None:
            self._emit(task, "suspend_lapsed", ENGINE, "withdrawn", at=at)
        else:
            self._emit(task, "ask_to_suspend", ENGINE, Reason.HOLD, detail={"hold_id": other.id}, at=at)
            self._set_deadline(self.policy.suspend_deadline, "suspend", task)

    # --- blackout windows

    def _arm_blackout(self, blackout: Blackout) -> None:
        self._set_timer(blackout.next_at, "black_out", blackout.id)

    def _black_out(self, blackout_id: int, at: int) -> None:
        """Settle the next nominal time of a blackout window: hold its site until it is over, if it is not over yet."""
        blackout = self.state.blackouts.get(blackout_id)
        if blackout is None or blackout.next_at > at:  # it was removed, or edited since
            return
        nominal = blackout.next_at
        over = blackout.spec.rule.missed(nominal - 1, self._step.now - blackout.lasts)
        if over is None:
            self._place_blackout(blackout, nominal, at)
        else:
            self._blackout_fire(blackout, over, None, at)
        self._arm_blackout(blackout)

    def _place_blackout(self, blackout: Blackout, nominal: int, at: int) -> None:
        spec = blackout.spec
        hold = Hold(
            self.state.businesses[spec.business].next_event(), spec.business, spec.site, "site", spec.site, spec.reason,
            ENGINE, nominal, nominal + blackout.lasts, spec.suspend,
        )
        self._hold_event(hold, "placed", ENGINE, at, spec.reason)
        hold = self.state.holds[hold.id]
        self._blackout_fire(blackout, (nominal, nominal, 1), hold.id, at)
        self._begin_hold(hold, at)
        self._arm_hold(hold)

    def _blackout_fire(self, blackout: Blackout, times: tuple[int, int, int], hold_id: int | None, at: int) -> None:
        """Record what became of nominal times (first, last, how many), in the same step and so in the same commit."""
        spec = blackout.spec
        outcome = "missed" if hold_id is None else "held"
        self._record(
            BlackoutFire(
                self.state.businesses[spec.business].next_event(), at, spec.business, spec.site, blackout.id, *times,
                times[1] + blackout.lasts, hold_id, outcome,
            )
        )

    # --- throttles: a ramp after a resume, a cap of a user's running tasks

    def _begin_ramp(self, lifted: list[Hold], rate: int, actor: str, reason: str | None) -> None:
        """Let what the lifted holds kept, and no other keeps, start at a rate only; where there is something."""
        over = [hold.reach for hold in lifted]
        but = [hold.reach for hold in sorted(self.queues.holds.values(), key=lambda hold: hold.id)]
        places = {(hold.business, hold.site) for hold in lifted}
        business = lifted[0].business if len({b for b, _ in places}) == 1 else None
        site = lifted[0].site if len(places) == 1 else None
        ramp = Throttle(
            self.state.business(business).next_event(), business, site, None, rate, None, over, but, reason, actor,
            self._step.now,
        )
        if any(queue.reaches_back(ramp.begun_at) for queue in self.queues.reached(ramp)):
            self._throttle_event(ramp, "begun", actor, reason, detail={"over": over, "but": but})

    def _end_throttle(self, throttle: Throttle, actor: str, reason: str | None, at: int | None = None) -> None:
        self._throttle_event(throttle, "ended", actor, reason, at)

    def _settle_throttles(self) -> None:
        """Before anybody starts: end ramps that are through, and open or shut caps by what runs now."""
        for throttle in list(self.queues.throttles.values()):
            if throttle.rate is not None:
                if not throttle.left:
                    self._end_throttle(throttle, ENGINE, "released")
            elif throttle.shut == throttle.has_room:
                self._throttle_event(throttle, "open" if throttle.shut else "shut")

    def _pay(self, throttles: Iterable[Throttle]) -> None:
        """Shut the throttles whose token or last room a start has just taken."""
        for throttle in throttles:
            if throttle.rate is not None:
                self._throttle_event(throttle, "shut")
                self._set_timer(throttle.opens_at, "token", throttle.id)
            elif not throttle.has_room:
                self._throttle_event(throttle, "shut")

    # --- the longest wait

    def _arm_expiry(self, task: Task, at: int) -> None:
        if task.longest_wait_s is None or task.id not in self.queues.waiting:
            return
        if self.queues.waiting[task.id].queue.holds:
            self._parked[task.id] = task
        else:
            self._set_timer(at + max(0, self._patience(task, at)), "expire", task.id)

    def _patience(self, task: Task, at: int) -> int:
        """Tell how much longer a task may wait, in microseconds."""
        assert task.longest_wait_s is not None
        waited = self.queues.split(task, at)
        spent = sum(us for cause, us in task.waits.items() if cause != "hold")
        return task.longest_wait_s * SECOND - spent - sum(us for cause, us in waited.items() if cause != "hold")

    def _expire(self, task_id: int, at: int) -> None:
        task = self.state.tasks.get(task_id)
        if task is None or task.status is not Status.NEW or task_id not in self.queues.waiting:
            return
        if self.queues.waiting[task_id].queue.holds or self._patience(task, at) > 0:
            self._arm_expiry(task, at)
        else:
            self._emit(task, "expire", ENGINE, Reason.EXPIRED, dq=-1, at=at)

    def _unpark(self, at: int) -> None:
        for task in [t for t in self._parked.values() if not self._is_held(t)]:
            del self._parked[task.id]
            self._arm_expiry(task, at)

    def _is_held(self, task: Task) -> bool:
        waiting = self.queues.waiting.get(task.id)
        return waiting is not None and bool(waiting.queue.holds)
