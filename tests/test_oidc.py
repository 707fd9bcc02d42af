"""What an identity provider says is checked: who says it, to whom, for which sign-in, in whose browser, and once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import OctKey, RSAKey

from engine import oidc
from engine.errors import SettingsError
from engine.oidc import Configured, Identity, NoProvider, NotVouchedFor, Provider
from tests.provider import CLIENT, SECRET, PlayProvider

HERE = "http://127.0.0.1:8501/oauth2callback"
ANN: dict[str, Any] = {"sub": "1234", "email": "ann@acme.example", "email_verified": True}


@pytest.fixture(scope="module")
def there() -> Iterator[PlayProvider]:
    provider = PlayProvider().start()
    yield provider
    provider.stop()


@pytest.fixture
def provider(there: PlayProvider) -> Provider:
    there.honest(**ANN)
    return Provider(Configured.of(section(there.url)))


def section(url: str, **changes: str) -> dict[str, str]:
    return {
        "name": "Acme ID", "client_id": CLIENT, "client_secret": SECRET, "redirect_uri": HERE,
        "server_metadata_url": f"{url}/.well-known/openid-configuration", **changes,
    }  # fmt: skip


async def begun(provider: Provider, there: PlayProvider, path: str = "/tasks") -> tuple[dict[str, str], str]:
    """Begin a sign-in, and let the provider answer; return what it answers, and what the browser keeps."""
    begin = await provider.begin(path)
    return query(there.answer(query(begin.url))), begin.secret


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def signed_in(provider: Provider, there: PlayProvider) -> tuple[Identity, str]:
    async def whole() -> tuple[Identity, str]:
        answer, secret = await begun(provider, there)
        return await provider.end(answer, secret)

    return asyncio.run(whole())


def test_whom_the_provider_vouches_for_is_told_and_where_he_wanted_to_go(
    provider: Provider, there: PlayProvider
) -> None:
    assert signed_in(provider, there) == (Identity("1234", "ann@acme.example", None), "/tasks")


@pytest.mark.parametrize("verified", [False, None, "false", 0, "yes"])
def test_an_address_that_the_provider_has_not_verified_is_told_apart(
    provider: Provider, there: PlayProvider, verified: object
) -> None:
    there.honest(**ANN | {"email_verified": verified})
    assert signed_in(provider, there)[0] == Identity("1234", None, "ann@acme.example")


LIES: dict[str, dict[str, Any]] = {
    "of another sign-in": {"nonce": "another"}, "of no sign-in": {"nonce": None}, "to somebody else": {"aud": "other"},
    "to somebody else, with us as party": {"aud": "other", "azp": CLIENT}, "to nobody": {"aud": None},
    "by somebody else": {"iss": "https://evil.example"}, "by nobody": {"iss": None}, "of nobody": {"sub": None},
    "too old": {"exp": 1_000_000_000}, "without an end": {"exp": None}, "issued for another party": {"azp": "other"},
    "from the future": {"nbf": 4_000_000_000},
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_what_is_said_wrongly_is_not_believed(provider: Provider, there: PlayProvider, lie: str) -> None:
    there.lies = LIES[lie]
    with pytest.raises(NotVouchedFor, match="What Acme ID says of you does not stand up"):
        signed_in(provider, there)


def test_what_the_provider_did_not_sign_is_not_believed(provider: Provider, there: PlayProvider) -> None:
    for header, key in (
        ({"alg": "RS256", "kid": "one"}, RSAKey.generate_key(2048, {"kid": "one"})),
        ({"alg": "RS256", "kid": "two"}, RSAKey.generate_key(2048, {"kid": "two"})),
        ({"alg": "HS256"}, OctKey.import_key(SECRET)),
        ({"alg": "none"}, there.own_key),
    ):
        there.header, there.key = header, key
        with pytest.raises(NotVouchedFor, match="does not stand up"):
            signed_in(provider, there)
    there.honest(**ANN)
    assert signed_in(provider, there)


def test_an_answer_counts_once_and_only_in_the_browser_that_began(provider: Provider, there: PlayProvider) -> None:
    async def tried() -> None:
        for secret in (None, "", "another"):
            answer, _ = await begun(provider, there)
            with pytest.raises(NotVouchedFor, match="not begun in this browser"):
                await provider.end(answer, secret)
        answer, secret = await begun(provider, there)
        for forged in ({**answer, "state": "made up"}, {"code": answer["code"]}):
            with pytest.raises(NotVouchedFor, match="not begun in this browser"):
                await provider.end(forged, secret)
        assert await provider.end(answer, secret)
        with pytest.raises(NotVouchedFor, match="begin anew"):
            await provider.end(answer, secret)
        other, others = await begun(provider, there)
        mine, _ = await begun(provider, there)
        with pytest.raises(NotVouchedFor):
            await provider.end(mine, others)
        assert await provider.end(other, others)

    asyncio.run(tried())


def test_a_code_of_another_sign_in_is_of_no_use(provider: Provider, there: PlayProvider) -> None:
    async def tried() -> None:
        stolen, _ = await begun(provider, there)
        mine, secret = await begun(provider, there)
        with pytest.raises(NoProvider):
            await provider.end({**mine, "code": stolen["code"]}, secret)
        assert there.refusals == [stolen["code"]], "the verifier is another one"

    there.refusals.clear()
    asyncio.run(tried())


def test_a_sign_in_that_takes_too_long_is_begun_anew_and_few_are_kept(
    provider: Provider, there: PlayProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tried() -> None:
        answer, secret = await begun(provider, there)
        monkeypatch.setattr(oidc, "VALID", -1)
        with pytest.raises(NotVouchedFor, match="too long ago"):
            await provider.end(answer, secret)
        monkeypatch.setattr(oidc, "VALID", 600)
        monkeypatch.setattr(oidc, "MOST", 2)
        several = [await begun(provider, there) for _ in range(3)]
        with pytest.raises(NotVouchedFor):
            await provider.end(*several[0])
        assert await provider.end(*several[2])

    asyncio.run(tried())


def test_what_the_provider_refuses_is_told(provider: Provider, there: PlayProvider) -> None:
    async def tried(**answer: str) -> None:
        told, secret = await begun(provider, there)
        with pytest.raises(NotVouchedFor, match="Acme ID did not let you in"):
            await provider.end({"state": told["state"], **answer}, secret)

    asyncio.run(tried(error="access_denied"))
    asyncio.run(tried())


def test_a_provider_that_does_not_answer_is_told_soon() -> None:
    provider = Provider(Configured.of(section("http://127.0.0.1:9")))
    began = time.monotonic()
    with pytest.raises(NoProvider, match="could not be asked; try again, or sign in with a password"):
        asyncio.run(provider.begin("/"))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [({"client_id": " "}, "lacks client_id"), ({"redirect_uri": "https://a.example/elsewhere"}, "redirect_uri"),
     ({"redirect_uri": "http://a.example/oauth2callback"}, "redirect_uri"),
     ({"server_metadata_url": "http://a.example/x"}, "https"),
     ({"server_metadata_url": "file:///etc/passwd"}, "https")],
)  # fmt: skip
def test_what_is_wrong_with_the_secrets_is_named_and_no_secret_told(changes: dict[str, str], wrong: str) -> None:
    with pytest.raises(SettingsError, match=wrong) as told:
        Configured.of(section("https://id.example", **changes))
    assert SECRET not in str(told.value)


def test_a_provider_without_a_name_goes_by_its_host() -> None:
    without = section("https://id.example")
    del without["name"]
    assert Configured.of(without).name == "id.example"
