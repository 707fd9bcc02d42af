"""What is drawn is sent, all of it and in its order, as if each message left at once.

Streamlit drops what it has not sent yet of a part, or of the page, when a run begins that will draw it anew, and calls
the end of a run that it has not sent yet an end before its time, at which a browser takes nothing off the screen. That
saves a few messages on a busy server, and goes wrong there:

- a refresh that begins right after a dialog was drawn leaves on the screen what the dialog has no more;
- one that begins right after the whole page was drawn takes that page's part out, but not its end: the browser takes
  the part off the screen, and with it what was chosen and typed in there.
"""

from streamlit.runtime.forward_msg_queue import ForwardMsgQueue


def whole() -> None:
    """Have the server send it so from now on, to all sessions; call it before there is one."""
    withdraw = ForwardMsgQueue.clear

    def clear(
        queue: ForwardMsgQueue, retain_lifecycle_msgs: bool = False, fragment_ids_this_run: list[str] | None = None
    ) -> None:
        if retain_lifecycle_msgs:  # a run begins
            queue._delta_index_map = {}  # what it draws does not take the place of what another one drew
        else:
            withdraw(queue)

    ForwardMsgQueue.clear = clear  # type: ignore[method-assign]  # no public way leads there
