"""What is pressed counts once, also where the run that it begins is broken off."""

import pytest
from streamlit.testing.v1 import AppTest


def page() -> None:
    """A page with a button, which begins anew before it draws it, as a refresh does, whenever it is told to."""
    import streamlit as st

    from pages.shared import presses

    state = st.session_state
    state.setdefault("saved", 0)
    if state.pop("anew", False):
        st.rerun()
    if not state.get("elsewhere") and presses.button("Save", key="save", disabled=state.get("off", False)):
        state["saved"] += 1
    if state.get("elsewhere"):
        presses.forget()


@pytest.fixture
def shown() -> AppTest:
    return AppTest.from_function(page).run()


def saved(shown: AppTest) -> int:
    return int(shown.session_state["saved"])


def test_a_press_counts_once(shown: AppTest) -> None:
    assert saved(shown) == 0
    shown.button(key="save").click().run()
    assert saved(shown) == 1
    assert saved(shown.run()) == 1


def test_a_press_counts_though_its_run_begins_anew_before_the_button_is_drawn(shown: AppTest) -> None:
    shown.session_state["anew"] = True
    shown.button(key="save").click().run()
    assert saved(shown) == 1
    assert saved(shown.run()) == 1


def test_a_press_does_not_count_where_its_button_is_off_by_then(shown: AppTest) -> None:
    shown.session_state["off"] = True
    shown.button(key="save").click().run()
    shown.session_state["off"] = False
    assert saved(shown.run()) == 0


def test_a_press_is_forgotten_with_its_page(shown: AppTest) -> None:
    shown.session_state["elsewhere"] = True
    shown.button(key="save").click().run()
    shown.session_state["elsewhere"] = False
    assert saved(shown.run()) == 0


def asked_for() -> None:
    """A page that asks for a dialog, and begins anew as often as it is told to while it is drawn below."""
    from uuid import uuid4

    import streamlit as st

    from engine.errors import NotAllowed
    from pages.shared import asking, presses

    @asking.dialog("Question")
    def question(request: str) -> None:
        if st.session_state.get("barred"):
            raise NotAllowed("Not any more")
        st.text(request)
        if presses.button("Dismiss", key="keep"):
            asking.close()

    state = st.session_state
    state["page"] = state.get("on", "Tasks")
    asking.now()
    if state.pop("ask", False):
        state["on"] = state.get("then on", "Tasks")
        asking.later(lambda: question(str(uuid4())))
    if state.get("anew", 0):
        state["anew"] -= 1
        st.rerun()
    if state.pop("stops", False):
        st.stop()
    st.caption("the page")


@pytest.fixture
def asking() -> AppTest:
    return AppTest.from_function(asked_for).run()


def opened(shown: AppTest) -> list[str]:
    """Name the openings of dialogs that are on the screen."""
    return [text.value for text in shown.text]


def test_a_dialog_that_was_asked_for_is_the_same_opening_until_it_is_closed(asking: AppTest) -> None:
    assert opened(asking) == []
    asking.session_state["ask"] = True
    first = opened(asking.run())
    assert len(first) == 1
    assert opened(asking.run()) == first
    assert opened(asking.button(key="keep").click().run()) == []
    assert opened(asking.run()) == []
    asking.session_state["ask"] = True
    second = opened(asking.run())
    assert len(second) == 1
    assert second != first


@pytest.mark.parametrize("broken", [{"anew": 2}, {"stops": True}])
def test_a_dialog_is_open_also_where_the_page_was_not_drawn_to_its_end(asking: AppTest, broken: dict[str, int]) -> None:
    for name, value in {"ask": True, **broken}.items():
        asking.session_state[name] = value
    first = opened(asking.run())
    assert len(first) == 1
    assert opened(asking.run()) == first


def test_a_dialog_is_gone_with_the_page_that_asked_for_it(asking: AppTest) -> None:
    asking.session_state["ask"], asking.session_state["then on"] = True, "Logs"
    assert opened(asking.run()) == []
    asking.session_state["on"] = "Tasks"
    assert opened(asking.run()) == []


def test_a_dialog_is_gone_and_its_page_there_where_somebody_may_not_see_any_more_what_it_is_about(
    asking: AppTest,
) -> None:
    asking.session_state["ask"] = True
    assert len(opened(asking.run())) == 1
    asking.session_state["barred"] = True
    assert opened(asking.run()) == []
    assert [told.value for told in asking.caption] == ["the page"]
    assert not asking.exception
    asking.session_state["barred"] = False
    assert opened(asking.run()) == []
