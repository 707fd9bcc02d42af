"""The tables of Help, each made from the code that it tells of: what changes there changes here.

What code can't tell (what to do about it) stands beside, in a dictionary by the code's own names; a test sees that it
leaves none out and names none too many.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from html import escape

from engine import activity
from engine.drills import DRILLS
from engine.filters import FIELDS, Field, how
from engine.health import Limits
from engine.lanes import ROLES, SERVES, lane_of
from engine.lifecycle import (
    COLLECTING_KINDS,
    KIND_LABEL,
    NEXT,
    PAUSED,
    REASON_WORDS,
    TRANSITIONS,
    Cause,
    Edge,
    Kind,
    Outcome,
    Reason,
    Status,
    Tab,
    is_waiting,
    queue_word,
    shown_status,
    tab,
)
from engine.roles import ROLE_LABEL, ROLES_WITH, Right, Role
from engine.settings import AT_FIRST_START, AT_ONCE, SETTINGS, Settings
from engine.task import COLLECT
from pages.shared import queue
from pages.shared.hosts import ROLE_WORD
from pages.shared.tasklist import GLYPHS

from .markup import grid, inline, worded

_WORD_LOOKS = {
    "Scheduled": ("ring", "queued"), "Queued": ("ring", "queued"), "Running": ("play", "run"), PAUSED: ("bars", "hold"),
    "Stopping": ("square", "stop"), "Finished": ("tick", "done"), "Cancelled": ("block", "stop"),
    "Failed": ("cross", "fail"),
}  # fmt: skip

#: reason: what to do about it
REASON_ADVICE = {
    Reason.BY_USER: "Nothing; the task’s way names who asked, and the reason that he gave.",
    Reason.DELETED: "It can be restored for {undo_s} after it was deleted.",
    Reason.PREEMPTED: "Nothing here: it stands in an imported log.",
    Reason.ERROR: "Read the error on the task’s card, mend what it names, and run the task again.",
    Reason.TIMEOUT: "See whether the target answers at all; a smaller scope takes less time.",
    Reason.WORKER_LOST: "See what became of the hosts: {attempts} of them were lost under this task. "
    "[Lost hosts](services#lost).",
    Reason.CONSOLE_RESTARTED: "Nothing: the task was put back into the queue and starts again by itself.",
    Reason.SERVICE_OFFLINE: "Nothing: an admin took the host offline, and the task starts again on another.",
    Reason.STOP_NOT_CONFIRMED: "See whether something of it still runs on the host. "
    "[Stops that nobody confirms](cancel#unconfirmed).",
    Reason.FINISHED_BEFORE_STOP: "Nothing: the stage was done when the stop arrived, and its result is kept.",
    Reason.EXPIRED: "It could not start in time. Look why others wait, then submit it again.",
    Reason.HOLD: "It starts again, from its checkpoint, when the hold ends.",
    Reason.UNKNOWN_END: "Nothing here: the imported log does not tell how it ended.",
    "withdrawn": "Nothing: the hold was lifted before the host could put the task aside; it ran on.",
    "not_answered": "The host did not put the task aside within {suspend_deadline_s}; it ran on under the hold.",
}

#: cause: what to do about it
CAUSE_ADVICE = {
    Cause.HOLD: "See whose hold it is and why: the task’s card names it. [Holds](holds).",
    Cause.CONSOLE: "Nothing: it goes on as soon as the console is up. If it comes often, read the server’s log.",
    Cause.THROTTLED: "Wait: they start by and by after a resume, or as the user’s running tasks end. "
    "[Released gradually](holds#gradually), [caps](holds#caps).",
    Cause.OFFLINE: "Bring a host back that could run it, or add one. [Lost hosts](services#lost).",
    Cause.EXCLUSIVE: "An explorer does one scan at a time. Wait, or add an explorer.",
    Cause.CAPACITY: "Wait; if the line grows, stagger what comes, or add a host. "
    "[Backing up](troubleshooting#pile-up).",
    Cause.UNKNOWN: "Nothing: the imported log tells of waits but not of causes.",
}

#: outcome: what it means
OUTCOMES = {
    Outcome.FINISHED: "Everything was collected and processed.",
    Outcome.FINISHED_WITH_ERRORS: "It was processed, but parts of it failed; the number of errors stands beside.",
    Outcome.STOPPED: "Somebody stopped it, or it was deleted before it started.",
    Outcome.FAILED: "It could not go on; the reason tells why.",
}

#: role of a service: what it does
SERVICE_DOES = {
    "explorer": "Scans its networks, one scan at a time. Its further slots run connectors.",
    "audit_service": "Audits devices: one in each slot.",
    "hosted_zone": "Runs connectors to cloud services, and imports of segments.",
    "processor": "Belongs to the business as a whole. Processes what all others have collected, and runs the system "
    "tasks of all sites: reports, widgets’ queries, outlier calculations.",
}

#: right: what it lets people do
RIGHT_DOES = {
    Right.SEE: "See tasks, their ways, figures and the verdict",
    Right.REASONS: "See who placed a hold, and why",
    Right.AUDIT: "Read the audit trail, take it away, check its chain",
    Right.OPERATE: "Cancel, submit, edit and delete tasks",
    Right.HOLD: "Pause users and task types, and resume",
    Right.SCHEDULE: "Make, change, stagger and remove schedules",
    Right.SERVE: "Add hosts, drain them, take them offline, bring them online",
    Right.FOUND: "Found businesses",
    Right.USERS: "Invite users, give roles, disable accounts",
    Right.DRILL: "Start and end drills",
    Right.SETTINGS: "See and change settings",
}
SCOPES = {
    Role.PLATFORM_ADMIN: "everything",
    Role.BUSINESS_ADMIN: "a business",
    Role.SITE_ADMIN: "a site",
    Role.SITE_USER: "a site",
}

#: column of Active tasks: what stands in it
COLUMN_HELP = {
    "target": "What the task works on: a device, a segment or a cloud resource. A system task shows its name.",
    "task": "The task’s type and number. Numbers count up within a business. Click it to open the card.",
    "start": "When the task entered the queue: when it was submitted or, if it was scheduled for later, when it became "
    "due. Beside it: how long ago. Newest first, unless you sort by another column.",
    "scope": "The segment or the set of devices that the task covers.",
    "initiator": "The user who caused it, Schedule for a run of a schedule, System for a system task.",
    "status": "Its status in the words of this page, how far the stage at work has come, and why it waits or who is at "
    "work on it, and for how long.",
}

#: setting that the verdict goes by: what is meant, beyond its help
LIMIT_HELP = {
    "pile_up_tasks": "Set it above what is queued in a usual busy hour, or the verdict cries wolf. Held "
    "tasks never count.",
    "pile_up_s": "A burst that is over sooner is no pile-up. It is one, too, only while the oldest wait grows: a long "
    "queue that moves is merely busy.",
    "stuck_s": "No task is called stuck sooner, however quick its like are.",
    "stuck_times_p95": "And none before it has run so many times as long as 95 % of earlier runs on the same target, "
    "or of the same type where the target is new.",
    "slow_widget_times": "A refresh counts as slow from so many times its usual length. The signal needs three slow "
    "ones of the last five.",
    "old_hold_s": "Holds are easily forgotten. From this age on the verdict reminds of them, as a warning.",
}


def table(name: str, settings: Settings) -> str:
    """Make the table of a name; raise KeyError where there is none."""
    return TABLES[name](settings)


def tag(word: str, look: tuple[str, str]) -> str:
    """Draw a status as pages do: glyph and word."""
    return f"<span class='tag {look[1]}' data-glyph='{look[0]}'>{escape(word)}</span>"


def status(word: str) -> str:
    """Draw a stored status, or Paused."""
    return tag(word, GLYPHS[word])


def documented(enum: type[StrEnum]) -> dict[str, str]:
    """Read what stands behind each member of an enumeration in its source: value → comment."""
    found = re.findall(r'= "(.+?)" +#: (.+)', inspect.getsource(enum))
    return {value: f"{doc[:1].upper()}{doc[1:]}" for value, doc in found}


def statuses(_: Settings) -> str:
    docs = documented(Status)
    rows = []
    for one in Status:
        words = dict.fromkeys(queue_word(one, due, False) for due in ((False, True) if one is Status.NEW else (True,)))
        tabs = dict.fromkeys(tab(one, due) for due in ((False, True) if one is Status.NEW else (True,)))
        said = " ".join(tag(word, _WORD_LOOKS[word]) for word in words)
        rows.append((status(one), escape(docs[one]), said, ", ".join(tabs)))
    waiting = " or ".join(str(one) for one in Status if is_waiting(one, True))
    held = tag(PAUSED, GLYPHS[PAUSED])
    overlay = f"Not stored: how a waiting task ({waiting}) is shown while a hold covers it"
    rows.append((held, overlay, held, "as before"))
    return grid(("Status", "What it is", "Active tasks, logs", "Tab"), rows, "Statuses")


def vocabularies(_: Settings) -> str:
    """Turn the table around: from seed 1's words to the stored statuses."""
    found: dict[str, list[str]] = {}
    for one in Status:
        for due in (True, False) if one is Status.NEW else (True,):
            for held in (False, True):
                shown = shown_status(one, due, held)
                if held and shown != PAUSED:
                    continue
                when = {(Status.NEW, True): ", due", (Status.NEW, False): ", not yet due"}.get((one, due), "")
                found.setdefault(queue_word(one, due, held), []).append(f"{one}{when}")
    errors = queue_word(Status.PROCESSED, True, False, Outcome.FINISHED_WITH_ERRORS, 3)
    rows = [(tag(word, _WORD_LOOKS[word]), escape(" · ".join(stored))) for word, stored in found.items()]
    rows.append((tag(errors, _WORD_LOOKS["Finished"]), "Processed, where parts of it failed: here 3"))
    return grid(("Active tasks, logs", "Stored as"), rows, "From the words of Active tasks to statuses")


def edges(_: Settings) -> str:
    moves = [edge for edge in TRANSITIONS if edge.target is not None]
    return grid(("Step", "From", "To", "Task types", "Fired by"), _edge_rows(moves), "Transitions")


def marks(_: Settings) -> str:
    kept = [edge for edge in TRANSITIONS if edge.target is None]
    rows = [(step, start, kinds, by) for step, start, _, kinds, by in _edge_rows(kept)]
    return grid(("Step", "While", "Task types", "Fired by"), rows, "Steps that keep the status")


def _edge_rows(edges: Iterable[Edge]) -> list[tuple[str, str, str, str, str]]:
    return [
        (
            f"<b>{step(edge.event)}</b>",
            " ".join(status(one) for one in Status if one in edge.sources) or "–",
            status(edge.target) if edge.target is not None else "",
            kinds(edge.kinds),
            escape(edge.fired_by),
        )
        for edge in edges
    ]


def step(event: str) -> str:
    """Word an event as people say it."""
    return event.replace("_", " ")


def kinds(some: Iterable[Kind]) -> str:
    """Name task types; all of them are "all"."""
    chosen = set(some)
    return "all" if chosen == set(Kind) else ", ".join(kind.value for kind in Kind if kind in chosen)


def reasons(settings: Settings) -> str:
    rows = [
        (f"<code>{escape(name)}</code>", escape(words), inline(REASON_ADVICE[name], settings))
        for name, words in REASON_WORDS.items()
    ]
    return grid(("Reason", "A page says", "What to do"), rows, "Reasons")


def outcomes(_: Settings) -> str:
    return grid(("Outcome", "What it means"), [(f"<code>{o}</code>", escape(OUTCOMES[o])) for o in Outcome], "Outcomes")


def causes(settings: Settings) -> str:
    docs = documented(Cause)
    said = {Cause.HOLD: "the hold itself"} | {cause: why or "–" for cause, why in queue.WHY.items()}
    rows = [
        (f"<code>{cause}</code>", escape(docs[cause]), escape(said[cause]), inline(CAUSE_ADVICE[cause], settings))
        for cause in Cause
    ]
    return grid(("Cause", "What it is", "Active tasks says", "What to do"), rows, "Causes of waiting")


def tabs(_: Settings) -> str:
    """List the tabs with what stands in each."""
    rows = []
    for one in Tab:
        found = [
            tag(f"{s}{when}", GLYPHS[s])
            for s in Status
            for due, when in (((True, ", due"), (False, ", not yet due")) if s is Status.NEW else ((True, ""),))
            if tab(s, due) is one
        ]
        rows.append((f"<b>{one}</b>", " ".join(found) or "Schedules: what yields tasks again and again"))
    return grid(("Tab", "What stands in it"), rows, "Tabs")


def types(_: Settings) -> str:
    rows = []
    for kind in Kind:
        collecting = kind in COLLECTING_KINDS
        hosts = " or ".join(ROLE_WORD[role] for role in SERVES[lane_of(kind, COLLECT)])
        does = f"{NEXT['claim', Status.NEW, kind]}: collected by an {hosts}" if hosts[0] in "aeiou" else (
            f"{NEXT['claim', Status.NEW, kind]}: {'collected' if collecting else 'run'} by a {hosts}"
        )  # fmt: skip
        rows.append((f"<b>{KIND_LABEL[kind]}</b>", f"<code>{kind}</code>", escape(does),
                     "then processed by a processor" if collecting else "one stage only: a system task"))  # fmt: skip
    return grid(("Task type", "In filters", "First stage", "Second stage"), rows, "Task types")


def services(_: Settings) -> str:
    rows = []
    for role in ROLES:
        lanes = [lane for lane, roles in SERVES.items() if role in roles]
        works = ", ".join("processing" if lane == "process" else lane for lane in lanes)
        rows.append((f"<b>{ROLE_WORD[role].capitalize()}</b>", works, inline(SERVICE_DOES[role])))
    return grid(("Service", "Takes", "What it does"), rows, "Services")


def columns(_: Settings) -> str:
    rows = [(f"<b>{escape(c['label'])}</b>", inline(COLUMN_HELP[c["id"]])) for c in queue.COLUMNS]
    return grid(("Column", "What stands in it"), rows, "Columns of Active tasks")


def roles(_: Settings) -> str:
    rows = [
        (escape(RIGHT_DOES[right]), *("✓" if role in ROLES_WITH[right] else "–" for role in Role)) for right in Right
    ]
    rows.insert(0, ("<i>holds for</i>", *(f"<i>{SCOPES[role]}</i>" for role in Role)))
    return grid(("", *(ROLE_LABEL[role] for role in Role)), rows, "Roles and rights")


def limits(settings: Settings) -> str:
    """Tell what the verdict goes by, with the value in force."""
    helps = {setting.name: setting.help for setting in SETTINGS}
    rows = [
        (f"<code>{name}</code>", worded(settings, name), f"{escape(helps[name])}. {inline(LIMIT_HELP[name])}")
        for name in Limits.__dataclass_fields__
    ]
    return grid(("Setting", "In force", "What is meant"), rows, "Limits of the verdict")


def settings_table(_: Settings) -> str:
    """List every setting with its default. Values in force are for those who may see them, on their page."""
    counts = {AT_ONCE: "at once", AT_FIRST_START: "at a first start"}
    rows = [
        (
            f"<code>{s.name}</code>", escape(s.shown(s.default)), escape(s.help),
            counts.get(s.counts, "after the next start"),
        )
        for s in SETTINGS
    ]  # fmt: skip
    return grid(("Setting", "Default", "What it does", "A change counts"), rows, "Settings")


def drills(_: Settings) -> str:
    rows = []
    for drill in DRILLS:
        asks = ", ".join(p.help for p in drill.parameters)
        lasts = "until it ends or is ended" if drill.lasts else "happens at once, has no end"
        does = f"{drill.help[:1].upper()}{drill.help[1:]}"
        rows.append((f"<code>{drill.name}</code>", escape(does), escape(asks), lasts))
    return grid(("Drill", "What happens", "What it asks for", "Lasts"), rows, "Drills")


def fields(_: Settings) -> str:
    """List the fields of the filter language."""
    return _fields(FIELDS, "Fields of the filter language")


def trail(_: Settings) -> str:
    """List the fields that the audit trail can be filtered by."""
    return _fields(activity.FIELDS, "Fields of the audit trail’s filter")


def _fields(fields: Sequence[Field], caption: str) -> str:
    rows = []
    for field in fields:
        names = ", ".join(f"<code>{escape(name)}:</code>" for name in (field.key, *field.also))
        empty = ", or none and any" if field.empty else ""
        rows.append((names, escape(field.help), escape(how(field) + empty)))
    return grid(("Field", "What it looks at", "How its values are written"), rows, caption)


TABLES: Mapping[str, Callable[[Settings], str]] = {
    "statuses": statuses, "vocabularies": vocabularies, "edges": edges, "marks": marks, "reasons": reasons,
    "outcomes": outcomes, "causes": causes, "tabs": tabs, "types": types, "services": services, "columns": columns,
    "roles": roles, "limits": limits, "settings": settings_table, "drills": drills, "fields": fields,
    "trail": trail,
}  # fmt: skip
