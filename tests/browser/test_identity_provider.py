"""Sign-in by an identity provider in a real browser: who has an account with that identity gets in, and nobody else;
from then on it is a session like any other."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from tests.browser.conftest import Server, serve
from tests.browser.test_activity import FLEET
from tests.browser.test_sign_in import PAGE, enters
from tests.provider import CLIENT, SECRET, PlayProvider

pytestmark = pytest.mark.browser

SOON = 30_000
COOKIES = "a secret that signs Streamlit's own cookies"
SITE_USER = ("--role", "site_user", "--business", "Acme", "--site", "Berlin")
ANN = {"sub": "1234", "email": "Ann@acme.example", "email_verified": True}


@pytest.fixture(scope="module")
def there() -> Iterator[PlayProvider]:
    provider = PlayProvider().start()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def server(there: PlayProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("provider")
    (folder / "settings.toml").write_text("seed_days = 0\n")
    (folder / "fleet.toml").write_text(FLEET)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "secrets.toml").write_text(
        f'[auth]\nname = "Acme <ID>"\nclient_id = "{CLIENT}"\nclient_secret = "{SECRET}"\ncookie_secret = "{COOKIES}"\n'
        f'redirect_uri = "http://127.0.0.1:{port}/oauth2callback"\n'
        f'server_metadata_url = "{there.url}/.well-known/openid-configuration"\n'
    )
    server = serve(folder, folder / "server.log", "--secrets.files", str(folder / "secrets.toml"), port=port)
    server.sign_in(server.first_link())
    server.cli("user", "invite", "ann", *SITE_USER, "--identity", "ann@acme.example")
    server.cli("user", "invite", "sub", *SITE_USER, "--identity", "sub:5678")
    yield server
    server.stop()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1280, "height": 800})
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def go_on(page: Page, server: Server, path: str = "/") -> None:
    """Go to a page, to the provider, and say there that one wants to go on."""
    page.goto(server.url + path)
    page.get_by_role("link", name="Sign in with Acme <ID>").click()
    page.get_by_role("link", name="Continue").click()


def refused(page: Page, server: Server, why: str) -> None:
    expect(page.get_by_role("alert")).to_contain_text(why)
    assert [c["name"] for c in page.context.cookies() if "drainboard" in c["name"]] == []
    page.goto(f"{server.url}/tasks")
    expect(page.get_by_label("Password")).to_be_visible()


def test_who_has_an_account_with_that_identity_gets_in_and_out(
    page: Page, server: Server, there: PlayProvider
) -> None:
    there.honest(**ANN)
    go_on(page, server, "/tasks?tab=failed")
    expect(page.get_by_role("heading", name="Tasks", exact=True)).to_be_visible(timeout=SOON)
    assert "tab=failed" in page.url
    expect(page.get_by_text("Site user, Berlin, Acme")).to_be_visible()
    cookies = {c["name"]: c for c in page.context.cookies()}
    assert "drainboard_oidc" not in cookies
    assert not any("streamlit_user" in name for name in cookies)
    session = cookies["drainboard_session"]
    assert session["httpOnly"]
    assert session["sameSite"] == "Lax"
    told = json.loads(server.cli("user", "list"))["users"]
    (ann,) = [user for user in told if user["name"] == "ann"]
    assert (ann["state"], ann["sessions"]) == ("active", 1)
    page.get_by_role("button", name="Account").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    assert not enters(server, f"drainboard_session={session['value']}")
    page.goto(f"{server.url}/tasks")
    expect(page.get_by_label("Password")).to_be_visible()


def test_a_subject_gets_in_where_the_account_names_it(page: Page, server: Server, there: PlayProvider) -> None:
    there.honest(sub="5678", email="ann@acme.example", email_verified=False)
    go_on(page, server)
    expect(page.get_by_text("sub", exact=True)).to_be_visible(timeout=SOON)


def test_an_unknown_identity_is_refused_in_clear_words_and_gets_no_account(
    page: Page, server: Server, there: PlayProvider
) -> None:
    before = server.cli("user", "list")
    there.honest(sub="1", email="eve@evil.example", email_verified=True)
    go_on(page, server)
    refused(page, server, "No account here has the identity eve@evil.example; ask an admin to give it to yours.")
    there.honest(sub="ann@acme.example", email="ann@acme.example.evil.example", email_verified=True)
    go_on(page, server)
    refused(page, server, "No account here has the identity")
    assert server.cli("user", "list") == before


def test_an_unverified_address_is_refused(page: Page, server: Server, there: PlayProvider) -> None:
    there.honest(**ANN | {"email_verified": False})
    go_on(page, server)
    refused(page, server, "Acme <ID> has not verified that Ann@acme.example is yours; nobody was let in.")


def test_a_disabled_account_is_refused_and_an_open_tab_of_one_ends(
    page: Page, server: Server, there: PlayProvider, browser: Browser
) -> None:
    there.honest(**ANN)
    go_on(page, server)
    expect(page.get_by_role("heading", name="Active tasks")).to_be_visible(timeout=SOON)
    server.cli("user", "disable", "ann")
    expect(page.get_by_role("link", name="Sign in")).to_be_visible(timeout=SOON)
    other = browser.new_context().new_page()
    go_on(other, server)
    refused(other, server, "The account ann is disabled; ask an admin.")
    other.context.close()
    server.cli("user", "enable", "ann")
    assert not enters(server, "; ".join(f"{c['name']}={c['value']}" for c in page.context.cookies()))


def test_what_was_tampered_with_on_the_way_is_refused(
    page: Page, server: Server, there: PlayProvider, browser: Browser
) -> None:
    there.honest(**ANN)
    page.goto(server.url)
    page.get_by_role("link", name="Sign in with Acme <ID>").click()
    back = page.get_by_role("link", name="Continue").get_attribute("href")
    assert back
    stranger = browser.new_context().new_page()
    stranger.goto(back)  # a link by which somebody would have another sign in as him
    refused(stranger, server, "This sign-in was not begun in this browser, or too long ago; begin anew.")
    stranger.context.close()
    page.goto(back)
    refused(page, server, "not begun in this browser")  # it was used up
    page.goto(server.url)
    page.get_by_role("link", name="Sign in with Acme <ID>").click()
    back = str(page.get_by_role("link", name="Continue").get_attribute("href"))
    page.goto(back.replace("state=", "state=x"))
    refused(page, server, "not begun in this browser")
    there.lies = {"nonce": "of another sign-in"}
    go_on(page, server)
    refused(page, server, "What Acme <ID> says of you does not stand up; begin anew.")
    there.honest(**ANN)
    page.goto(f"{server.url}/auth/sign-in")
    page.get_by_role("link", name="Sign in with Acme <ID>").click()
    state = str(page.get_by_role("link", name="Continue").get_attribute("href")).partition("state=")[2]
    page.goto(f"{server.url}/oauth2callback?error=access_denied&state={state}")
    refused(page, server, "Acme <ID> did not let you in.")


def test_where_a_sign_in_leads_on_is_within_the_console(page: Page, server: Server, there: PlayProvider) -> None:
    there.honest(**ANN)
    page.goto(f"{server.url}/auth/provider?next=//evil.example")
    page.get_by_role("link", name="Continue").click()
    expect(page.get_by_role("heading", name="Active tasks")).to_be_visible(timeout=SOON)
    assert page.url.startswith(server.url)


def test_streamlits_own_identity_gives_nothing_and_its_own_way_to_sign_in_is_closed(server: Server) -> None:
    says = json.dumps({"is_logged_in": True, "email": "ann@acme.example", "origin": server.url, "provider": "default"})
    signed = create_signed_value(COOKIES, "_streamlit_user", says).decode()
    cookie = f"_streamlit_user={signed}"
    assert server.ask("GET", "/tasks", Cookie=cookie, **PAGE)[0] == 303
    assert server.ask("GET", "/_stcore/host-config", Cookie=cookie)[0] == 401
    assert not enters(server, cookie)
    for path in ("/auth/login", "/auth/login?provider=default", "/auth/logout"):
        assert server.ask("GET", path, Cookie=cookie)[0] == 404
    status, told, _ = server.ask("GET", "/oauth2callback?code=x&state=y", Cookie=cookie)
    assert status == 403
    assert "streamlit" not in told.get("set-cookie", "")


def test_without_the_section_there_is_no_way_to_a_provider(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("seed_days = 0\n")
    server = serve(tmp_path, tmp_path / "server.log")
    try:
        assert "Sign in with" not in server.ask("GET", "/auth/sign-in")[2]
        assert server.ask("GET", "/auth/provider")[0] == 404
        assert server.ask("GET", "/oauth2callback?code=x&state=y")[0] == 404
    finally:
        server.stop()


def test_a_section_that_lacks_something_ends_the_start_in_words(tmp_path: Path) -> None:
    (tmp_path / "secrets.toml").write_text('[auth]\nclient_id = "x"\nclient_secret = "never told"\n')
    with pytest.raises(AssertionError, match="lacks redirect_uri, server_metadata_url") as told:
        serve(tmp_path, tmp_path / "server.log", "--secrets.files", str(tmp_path / "secrets.toml"))
    assert "never told" not in str(told.value)
    assert "Traceback" not in str(told.value)
