"""What services say, and what follows where they say nothing. Pure.

A report counts under the lease of the task's last claim and under no other, so that whoever was given up for lost can't
speak for a task that somebody else has. Silence and answers to requests are timed by time that really ticked, and only
while somebody listens: a machine that slept loses no service.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from . import messages as m
from .clock import SECOND
from .deciding import ENGINE, Policy
from .holding import Holding
from .lanes import Service
from .ledger import Detail, ReportResult, ServiceEvent, business_of, digest
from .lifecycle import COLLECTING, Reason, Status, result_site
from .state import State
from .task import PROCESS, Task

LONGEST_LOOK_GAP = 15 * SECOND  #: an executor that did not look at its services for longer was not listening


@dataclass(slots=True)
class _Lookout:
    """An executor's own clock (it stands while nobody looks), when it last looked, and what was silent then."""

    clock: int
    looked: int
    looked_at: int  #: the instant of it
    silent: Set[tuple[str, str]] = frozenset()


class Hearing(Holding):
    def __init__(self, state: State | None = None, policy: Policy | None = None) -> None:
        super().__init__(state, policy)
        self._looked = 0  #: when it was last looked for silence, by ticked time
        self._lookouts: dict[str, _Lookout] = {}  #: executors that watch all of their services at once
        self._watched = 0  #: how many services there were when it was last sorted out who is unwatched
        self._unwatched: list[Service] = []
        self._unwell = {key for key, s in self.queues.services.items() if s.lost or s.suspect}

    # --- reports

    def _hear(self, report: m.Report) -> None:
        if isinstance(report, m.Heartbeat):
            for name in report.services:
                service = self.queues.services.get((report.business, name))
                if service is not None:
                    self._heard(service)
        elif isinstance(report, m.Alive):
            self._look_out(report)
        else:
            task = self.state.tasks.get(report.task_id)
            if task is None or self._is_stale(task, report.lease):
                if not isinstance(report, m.Progress):
                    self._refuse_report(report, task)
            else:
                self._heard(self.state.service(task))
                getattr(self, _REPORTS[type(report)])(task, report)

    def _is_stale(self, task: Task, lease: int) -> bool:
        return task.lease != lease

    def _refuse_report(self, report: m.Report, task: Task | None) -> None:
        """Log a report that came under an old lease; whoever sent it no longer has the task."""
        assert not isinstance(report, m.Heartbeat | m.Alive)
        number = business_of(report.task_id)
        business = next((b for b in self.state.businesses.values() if b.no == number), self.state.system)
        detail = {"task_id": report.task_id, "lease": report.lease, "report": type(report).__name__.lower()}
        self._record(
            ServiceEvent(
                business.next_event(), self._step.now, business.name, task.site if task else None, None, "stale_report",
                "stale", ENGINE, None, detail,
            )
        )

    def _collected(self, task: Task, _: m.Collected) -> None:
        if task.status is Status.STOPPING:
            self._confirm_stop(task, Reason.FINISHED_BEFORE_STOP)
        elif task.status in COLLECTING:
            self._emit(task, "collected", task.host, dr=-1)
            self._emit(task, "hand_over", ENGINE, dp=1, attempt=0)

    def _finished(self, task: Task, report: m.Finished) -> None:
        detail: Detail = {}
        if report.errors:
            detail["errors"] = report.errors
        if report.changes is not None:
            detail["changes"] = report.changes
        if task.joined:
            detail["joined"] = task.joined
        if report.result is not None:
            detail["digest"] = digest(report.result)
        if task.status is Status.STOPPING:
            detail["outcome"] = "finished_with_errors" if report.errors else "finished"
            self._confirm_stop(task, Reason.FINISHED_BEFORE_STOP, detail)
        elif task.stage == PROCESS:
            if report.errors:
                detail["outcome"] = "finished_with_errors"
            self._emit(task, "finish", task.host, dr=-1, detail=detail or None)
        else:
            self._refuse_report(report, task)
            return
        self._step.rows.asset.extend(report.assets)
        if report.result is not None:
            site = result_site(task.kind, task.name, task.site)
            self._step.rows.report_result.append(
                ReportResult(
                    task.id, task.business, site, task.name, task.created_by, self._step.now, report.result
                )
            )

    def _failed(self, task: Task, report: m.Failed) -> None:
        self._emit(task, "fail", task.host, report.reason, dr=-1, detail={"error": report.error})

    def _stop_confirmed(self, task: Task, report: m.StopConfirmed) -> None:
        if task.status is Status.STOPPING:
            self._confirm_stop(task, None)
        else:
            self._refuse_report(report, task)

    def _confirm_stop(self, task: Task, reason: str | None, detail: Detail | None = None) -> None:
        self._emit(task, "confirm_stop", task.host, reason or task.reason, dr=-1, detail=detail)

    def _suspended(self, task: Task, report: m.Suspended) -> None:
        if task.status is Status.STOPPING:
            self._confirm_stop(task, None)
        elif task.status in COLLECTING and task.asked_to_suspend:
            self._emit(task, "suspended", task.host, Reason.HOLD, dr=-1, dq=1, detail={"checkpoint": report.checkpoint})
            self._arm_expiry(task, self._step.now)
        else:
            self._refuse_report(report, task)

    def _progress(self, task: Task, report: m.Progress) -> None:
        """Progress never goes backwards within a stage."""
        collecting, processing = task.progress
        fraction = min(max(report.fraction, 0.0), 1.0)
        if task.stage == PROCESS:
            task.progress = (collecting, max(processing or 0.0, fraction))
        else:
            task.progress = (max(collecting or 0.0, fraction), processing)
        self._step.touched.add(task.id)

    # --- stops

    def _ask_to_stop(self, task: Task, service: Service) -> None:
        assert task.lease is not None
        self._step.orders.append(m.StopOrder(service.executor, service.business, service.name, task.id, task.lease))
        self._set_deadline(self.policy.stop_deadline, "stop", task)

    def _give_up_stopping(self, task: Task) -> None:
        service = self.state.service(task)
        self._emit(task, "fail", ENGINE, Reason.STOP_NOT_CONFIRMED, dr=-1)
        if not service.suspect:
            self._service_event(service, "suspect", reason=Reason.STOP_NOT_CONFIRMED)
            self._unwell.add((service.business, service.name))

    # --- silence, over ticked time

    def _heard(self, service: Service) -> None:
        service.heard, service.heard_at = self._executor_clock(service), self._step.now
        if service.lost or service.suspect:
            if service.lost:
                self._service_event(service, "returned")
            if service.suspect:
                self._service_event(service, "cleared")
            self._unwell.discard((service.business, service.name))

    def _look_out(self, report: m.Alive) -> None:
        """Take in what an executor that watches all of its services has seen."""
        lookout = self._lookouts.get(report.executor)
        if lookout is None:
            lookout = self._lookouts[report.executor] = _Lookout(
                self._ticked, self._ticked, self._step.now, report.silent
            )
            self._watched = 0
        for key in report.silent - lookout.silent:
            service = self.queues.services.get(key)
            if service is not None:
                service.heard = lookout.clock  # it was alive when last looked at
                service.heard_at = lookout.looked_at
        lookout.clock += min(self._ticked - lookout.looked, LONGEST_LOOK_GAP)
        lookout.looked, lookout.looked_at = self._ticked, self._step.now
        back = (lookout.silent | self._unwell) - report.silent
        lookout.silent = report.silent
        for key in sorted(back):
            service = self.queues.services.get(key)
            if service is not None and service.executor == report.executor:
                self._heard(service)

    def heard(self) -> dict[tuple[str, str], int | None]:
        """Tell when each service was last heard of: by its own report, or by an executor that found it alive."""
        found: dict[tuple[str, str], int | None] = {}
        for key, service in self.queues.services.items():
            lookout = self._lookouts.get(service.executor)
            alive = lookout is not None and key not in lookout.silent
            found[key] = max(lookout.looked_at, service.heard_at or 0) if lookout and alive else service.heard_at
        return found

    def _expect_report(self, service: Service) -> None:
        """Count the silence of a service that never reported from its first claim."""
        if service.heard is None:
            service.heard = self._executor_clock(service)

    def _look_for_silence(self) -> None:
        """Lose who has been silent for too long. Services of a lookout are alive unless it says otherwise."""
        services = self.queues.services
        if self._watched != len(services):
            self._watched = len(services)
            self._unwatched = [s for s in services.values() if s.executor not in self._lookouts]
        for service in self._unwatched:
            self._lose_if_silent(service)
        for lookout in self._lookouts.values():
            for key in sorted(lookout.silent):
                if key in services:
                    self._lose_if_silent(services[key])

    def _lose_if_silent(self, service: Service) -> None:
        if service.wanted != "offline" and not service.lost and self._silent_for(service) > self.policy.silence:
            self._lose(service)

    def _silent_for(self, service: Service) -> int:
        """Tell how long a service has been silent while its executor was listening.

        A service that never reported counts from its first claim (`heard` is set then).
        """
        return 0 if service.heard is None else self._executor_clock(service) - service.heard

    def _executor_clock(self, service: Service) -> int:
        lookout = self._lookouts.get(service.executor)
        return self._ticked if lookout is None else lookout.clock

    def _lose(self, service: Service) -> None:
        self._service_event(service, "lost", reason="silent")
        self._unwell.add((service.business, service.name))
        for task in sorted(service.running.values(), key=lambda t: t.id):
            if task.status is Status.STOPPING:
                continue
            if task.attempt + 1 >= self.policy.attempts:
                self._emit(task, "fail", ENGINE, Reason.WORKER_LOST, dr=-1, attempt=task.attempt + 1)
            else:
                self._rescue(task, Reason.WORKER_LOST, task.attempt + 1)

    def _rescue(self, task: Task, reason: Reason, attempt: int) -> None:
        processing = task.status is Status.PROCESSING
        self._emit(
            task, "rescue", ENGINE, reason, dr=-1, dp=1 if processing else 0, dq=0 if processing else 1, attempt=attempt
        )
        self._arm_expiry(task, self._step.now)


_REPORTS: dict[type, str] = {
    m.Collected: "_collected",
    m.Finished: "_finished",
    m.Failed: "_failed",
    m.StopConfirmed: "_stop_confirmed",
    m.Suspended: "_suspended",
    m.Progress: "_progress",
}
