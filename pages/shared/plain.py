"""Text out of data, for the parts of the server's own that read Markdown: labels of buttons, toasts, error boxes."""

import re

_MARKS = re.compile(r"([!-/:-@\[-`{-~])")  # all that Markdown may take for a mark


def plain(text: str) -> str:
    """Write a text so that Markdown shows it as it is: no image is loaded, no link made, nothing coloured."""
    return _MARKS.sub(r"\\\1", text)
