"""The ends of runs of parts, which a browser is told as they were: what a part has not drawn then leaves the screen.

Streamlit calls an end that it has not sent yet, as the next run begins, an end before its time; the browser takes
nothing off the screen then, since what that run drew might have been withdrawn. But if the next run is of another part,
nothing was withdrawn. A refresh that begins right after a dialog has drawn would leave on the screen whatever the
dialog has no more, such as buttons that are drawn further up now, until somebody presses something in it again.
"""

from collections.abc import Callable, Sequence
from functools import wraps

from streamlit.runtime.forward_msg_queue import ForwardMsgQueue


def keep() -> None:
    """Have the server tell them so from now on, all sessions; call it before there is one."""
    ForwardMsgQueue.clear = _keeping(ForwardMsgQueue.clear)  # type: ignore[method-assign]  # no public way leads there


def _keeping(clear: Callable[..., None]) -> Callable[..., None]:
    @wraps(clear)
    def clear_and_keep(
        queue: ForwardMsgQueue, retain_lifecycle_msgs: bool = False, fragment_ids_this_run: Sequence[str] | None = None
    ) -> None:
        begun = set(fragment_ids_this_run or ())
        kept = [
            (message, message.script_finished)
            for message in queue._queue
            if begun and message.WhichOneof("type") == "script_finished"
            and (ended := message.metadata.run.fragment_ids) and begun.isdisjoint(ended)
        ]  # fmt: skip
        clear(queue, retain_lifecycle_msgs, fragment_ids_this_run)
        for message, how in kept:
            message.script_finished = how

    return clear_and_keep
