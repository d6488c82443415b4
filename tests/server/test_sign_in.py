"""Signing in over HTTP: by a code, by a provider, and staying signed in."""

import asyncio
import time as real_time
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.testclient import TestClient

from security.door_events import HandshakeRefused, SignInRenewed, SignInSucceeded
from security.oidc import Provider
from security.provider_settings import ProviderSettings
from security.revocations import RevokedKey, RevokedSubject, RevokedToken
from security.signed import decode_part, read_signed
from security.token_keys import key_id_of
from server import errors
from server.app import build_app
from server.bodies import MOST_BYTES
from server.sign_in import SignIn, SignInParts, subject_of
from server.sign_in_settings import SignInSettings, sign_in_faults
from tests.joined import KEY, NOW_S, POLICY, Joined, bearer
from tests.providing import FakeProvider, providing

ORIGIN = "http://testserver"
PAGE = {"origin": ORIGIN}
PEER = "198.51.100.7"


class Scene(Joined):
    """The application with signing in, on `http://testserver`."""

    def __init__(self, folder, provider: ProviderSettings | None = None, **settings):
        super().__init__(folder)
        self.wall_s = real_time.time() if provider else NOW_S  # noqa: TID251 (the provider's)
        self.now_s = 1000.0
        self.signing_key_file = folder / "signing.pem"
        pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.signing_key_file.write_bytes(pem)
        self.signing_key_file.chmod(0o600)
        given = {"address": ORIGIN, "provider": provider, **settings}
        self.sign_in = SignIn(
            SignInParts(
                settings=SignInSettings(**given),
                address=given["address"],
                policy=POLICY,
                signing_key_file=self.signing_key_file,
                door=self.reception._parts.door,
                reception=self.reception,
                trail=self,
                provider=provider and Provider(provider, lambda: self.now_s),
                wall_clock=lambda: self.wall_s,
                clock=lambda: self.now_s,
            )
        )
        app = build_app(self.reception, folder, self.sign_in.routes())
        self.client = TestClient(
            app, base_url=given["address"], follow_redirects=False, client=(PEER, 5)
        )

    def code(self):
        address, _, code = self.sign_in.start_address().partition("/#code=")
        assert address == self.sign_in._parts.address
        return code

    def post(self, code, headers=None, client=None):
        headers = PAGE if headers is None else headers
        return (client or self.client).post("/v1/sign-in", json={"code": code}, headers=headers)

    def signed_in(self):
        return self.post(self.code()).json()["token"]

    def renewed(self, token, headers=None):
        shown = {"authorization": f"Bearer {token}", **(PAGE if headers is None else headers)}
        return self.client.post("/v1/sign-in/renew", headers=shown)

    def reasons(self):
        return [event.reason for event in self.records_of(HandshakeRefused)]

    async def record(self, event):
        await self.before_recording(event)
        return await super().record(event)

    async def before_recording(self, event):
        """For a test to do something meanwhile."""


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def claims_of(token):
    return decode_part(read_signed(token).payload)


# --- by a code ---


def test_a_code_is_exchanged_for_a_short_token_once_and_on_record(scene):
    code = scene.code()
    response = scene.post(code)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert response.json().keys() == {"token", "expires_in_s"}
    claims = claims_of(response.json()["token"])
    assert (claims["scope"], claims["exp"] - claims["iat"]) == ("transcribe", 900)
    assert claims["earwitness"] == {"signed_in_at_s": int(NOW_S)}
    [event] = scene.records_of(SignInSucceeded)
    assert (event.subject, event.method, event.token_id) == (
        claims["sub"],
        "start_code",
        claims["jti"],
    )
    assert (event.origin, event.peer_address) == (ORIGIN, PEER)
    again = scene.post(code)
    assert (again.status_code, again.json()["code"]) == (401, "code_invalid")
    assert scene.reasons() == ["code_used"]


def test_the_token_opens_the_door(scene):
    shown = {"authorization": f"Bearer {scene.signed_in()}"}
    assert scene.client.post("/v1/whoami", headers={**shown, **PAGE}).status_code == 200


def test_every_code_is_for_a_subject_of_its_own(scene):
    subjects = {claims_of(scene.signed_in())["sub"] for _ in range(3)}
    assert len(subjects) == 3
    assert all(subject.startswith("page-") for subject in subjects)


def test_the_code_lives_for_so_long_from_the_start(tmp_path):
    scene = Scene(tmp_path, code_lifetime_s=60)
    code = scene.code()
    scene.now_s += 60
    assert scene.post(code).json()["code"] == "code_invalid"
    assert scene.reasons() == ["code_expired"]


def test_no_code_is_made_where_none_is_wanted(tmp_path):
    assert Scene(tmp_path, has_start_code=False).sign_in.start_address() is None


def test_all_bad_codes_look_the_same(scene):
    used, late = scene.code(), scene.code()
    scene.post(used)
    told = [scene.post(code) for code in (used, "x" * 22, "", "\ud7ff", "x" * 1000)]
    scene.now_s += 600
    told.append(scene.post(late))
    assert {(each.status_code, each.text) for each in told} == {(401, told[0].text)}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "http://testserver:1"},
        {"origin": "https://testserver"},
    ],
)
def test_a_page_from_elsewhere_neither_uses_a_code_nor_renews(scene, headers):
    code, token = scene.code(), scene.signed_in()
    assert scene.post(code, headers).json()["code"] == "origin_refused"
    assert scene.renewed(token, headers).json()["code"] == "origin_refused"
    assert scene.post(code).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "x/json"])
def test_what_a_form_of_another_page_could_send_is_not_read(scene, kind):
    body, headers = f'{{"code":"{scene.code()}"}}', {**PAGE, "content-type": kind}
    response = scene.client.post("/v1/sign-in", content=body, headers=headers)
    assert (response.status_code, scene.reasons()) == (400, ["not_json"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (b'{"code": 1}', 400),
        (b'{"code": "x", "more": 1}', 400),
        (b'["x"]', 400),
        (b"\xff", 400),
        (b"[" * MOST_BYTES, 400),
        (b" " * (MOST_BYTES + 1), 413),
    ],
)
def test_odd_bodies_are_refused(scene, body, status):
    headers = {**PAGE, "content-type": "application/json"}
    assert scene.client.post("/v1/sign-in", content=body, headers=headers).status_code == status


def test_a_code_in_the_address_is_no_code(scene):
    response = scene.client.post(f"/v1/sign-in?code={scene.code()}", headers=PAGE)
    assert response.status_code == 400


def test_wrong_codes_block_nobody(scene):
    """Any page can send its visitors here with one."""
    for _ in range(30):
        scene.post("x" * 22)
    assert set(scene.reasons()) == {"code_unknown"}


def test_a_blocked_address_is_not_looked_at(scene):
    code, token = scene.code(), scene.signed_in()
    assert scene.blocks.block(PEER, NOW_S + 60)
    assert scene.post(code).status_code == 429
    assert scene.renewed(token).status_code == 429
    assert (
        scene.client.get("/v1/sign-in/start")
        .headers["location"]
        .endswith("#problem=address_blocked")
    )


def test_what_cannot_be_recorded_is_not_given(scene):
    code, token = scene.code(), scene.signed_in()
    scene.trail_fails = True
    assert scene.post(code).json()["code"] == "trail_unavailable"
    assert scene.renewed(token).json()["code"] == "trail_unavailable"


def test_a_signing_key_that_is_gone_gives_nothing(scene):
    code = scene.code()
    scene.signing_key_file.unlink()
    assert scene.post(code).status_code == 500
    assert scene.reasons() == ["signing_key_unusable"]


def test_a_signing_key_that_was_revoked_signs_nothing(scene):
    code = scene.code()
    key_id = key_id_of(KEY.public_key())
    revoke(scene, RevokedKey(POLICY.issuer, key_id))
    assert scene.post(code).json()["code"] == "revoked"


def revoke(scene, revocation):
    asyncio.run(scene.revoking.revoke(revocation))


# --- staying ---


def test_a_token_is_renewed_for_the_same_subject_and_both_are_on_record(scene):
    former = scene.signed_in()
    scene.wall_s += 800
    newer = claims_of(scene.renewed(former).json()["token"])
    old = claims_of(former)
    assert newer["sub"] == old["sub"]
    assert newer["exp"] == old["exp"] + 800
    assert newer["earwitness"] == old["earwitness"]
    [event] = scene.records_of(SignInRenewed)
    assert (event.former_token_id, event.token_id) == (old["jti"], newer["jti"])


def test_signing_in_has_an_end_however_often_it_is_renewed(tmp_path):
    scene = Scene(tmp_path, longest_s=2000)
    token, told = scene.signed_in(), []
    for _ in range(10):
        scene.wall_s += 600
        response = scene.renewed(token)
        if response.status_code != 200:
            break
        token = response.json()["token"]
        told.append(claims_of(token)["exp"] - NOW_S)
    assert told == [1500, 2000, 2000]
    assert (response.status_code, scene.reasons()) == (401, ["token_expired"])


def test_a_token_within_the_leeway_is_not_renewed_beyond_the_end(tmp_path):
    scene = Scene(tmp_path, longest_s=900)
    token = scene.signed_in()
    scene.wall_s += 910
    assert scene.renewed(token).status_code == 401
    assert scene.reasons() == ["sign_in_over"]


def test_a_minted_token_cannot_be_made_to_last(scene):
    response = scene.client.post("/v1/sign-in/renew", headers={**bearer(), **PAGE})
    assert (response.status_code, scene.reasons()) == (403, ["not_signed_in"])


def test_another_issuers_token_cannot_be_made_to_last_whatever_it_says(scene):
    token = bearer(signed_in_at_s=int(NOW_S))
    scene.sign_in._parts = replace(scene.sign_in._parts, policy=replace(POLICY, issuer="ours"))
    response = scene.client.post("/v1/sign-in/renew", headers={**token, **PAGE})
    assert (response.status_code, scene.reasons()) == (403, ["not_signed_in"])


def test_an_administrators_token_is_not_renewed(scene):
    token = bearer(scopes={"admin"}, signed_in_at_s=int(NOW_S))
    assert scene.client.post("/v1/sign-in/renew", headers={**token, **PAGE}).status_code == 403


def test_a_ticket_is_not_made_a_token(scene):
    headers = {"authorization": f"Bearer {scene.signed_in()}", **PAGE}
    ticket = scene.client.post("/v1/tickets", headers=headers).json()["ticket"]
    response = scene.client.post(f"/v1/sign-in/renew?ticket={ticket}", headers=PAGE)
    assert (response.status_code, scene.reasons()) == (403, ["ticket_for_token"])


def test_without_a_token_nothing_is_renewed(scene):
    assert scene.client.post("/v1/sign-in/renew", headers=PAGE).status_code == 401


def of_subject(claims):
    return RevokedSubject(POLICY.issuer, claims["sub"], int(NOW_S), int(NOW_S) + 9999)


def of_token(claims):
    return RevokedToken(POLICY.issuer, claims["jti"], int(NOW_S) + 9999)


@pytest.mark.parametrize("revocation_of", [of_subject, of_token])
def test_what_was_revoked_is_not_renewed(scene, revocation_of):
    token = scene.signed_in()
    revoke(scene, revocation_of(claims_of(token)))
    assert scene.renewed(token).json()["code"] == "revoked"


@pytest.mark.parametrize("revocation_of", [of_subject, of_token])
def test_what_is_revoked_while_it_is_renewed_is_not_given(scene, revocation_of):
    token = scene.signed_in()

    async def before_recording(event):
        if isinstance(event, SignInRenewed):
            scene.wall_s += 1
            await scene.revoking.revoke(revocation_of(claims_of(token)))

    scene.before_recording = before_recording
    assert scene.renewed(token).json()["code"] == "revoked"


# --- by a provider ---


@pytest.fixture
def fake():
    with providing() as fake:
        yield fake


@pytest.fixture
def ward(tmp_path, fake):
    return Scene(tmp_path, fake.settings)


def back_of(scene, fake):
    """Off to the provider, and the address that it sends people back to."""
    response = scene.client.get("/v1/sign-in/start")
    assert response.status_code == 302
    assert response.headers["location"].startswith(fake.address)
    back = fake.authorized(urlsplit(response.headers["location"]).query)
    assert back.startswith(f"{ORIGIN}/v1/sign-in/callback?")
    return back.removeprefix(ORIGIN)


def page_of(response):
    """What the page is told."""
    assert response.status_code == 302
    assert response.headers["cache-control"] == "no-store"
    address, _, fragment = response.headers["location"].partition("/#")
    assert address == ORIGIN
    [(name, [value])] = parse_qs(fragment).items()
    return name, value


def problem(scene, fake):
    response = scene.client.get(back_of(scene, fake))
    return page_of(response), scene.reasons()[-1]


def test_who_else_signs_people_in_is_told(scene, ward):
    assert scene.client.get("/v1/sign-in").json() == {"provider": None}
    start = f"{ORIGIN}/v1/sign-in/start"
    told = ward.client.get("/v1/sign-in").json()
    assert told == {"provider": {"name": "Ward Login", "start": start}}


def test_whom_the_provider_vouches_for_signs_in(ward, fake):
    name, code = page_of(ward.client.get(back_of(ward, fake)))
    assert name == "code"
    response = ward.post(code)
    token = response.json()["token"]
    assert claims_of(token)["sub"] == subject_of(fake.address, "u-17")
    [event] = ward.records_of(SignInSucceeded)
    assert event.method == "provider"
    assert "max-age=0" in response.headers["set-cookie"].lower()
    assert ward.renewed(token).status_code == 200
    assert ward.post(code).json()["code"] == "code_invalid"


def test_the_code_is_good_for_a_minute_in_the_browser_that_went_there(ward, fake):
    _, code = page_of(ward.client.get(back_of(ward, fake)))
    other = TestClient(ward.client.app, base_url=ORIGIN)
    assert ward.post(code, client=other).json()["code"] == "code_invalid"
    assert ward.reasons() == ["code_of_other_browser"]
    ward.now_s += 60
    assert ward.post(code).json()["code"] == "code_invalid"
    assert ward.reasons()[1:] == ["code_expired"]


def test_nobody_is_signed_in_by_anothers_way_back(ward, fake):
    back = back_of(ward, fake)
    victim = TestClient(ward.client.app, base_url=ORIGIN, follow_redirects=False)
    assert page_of(victim.get(back)) == ("problem", "sign_in_failed")
    victim.get("/v1/sign-in/start")
    assert page_of(victim.get(back)) == ("problem", "sign_in_failed")
    assert ward.reasons() == ["sign_in_of_other_browser", "sign_in_unknown"]
    assert "/token" not in fake.asked


def test_a_way_back_is_gone_once(ward, fake):
    back = back_of(ward, fake)
    assert page_of(ward.client.get(back))[0] == "code"
    assert page_of(ward.client.get(back)) == ("problem", "sign_in_failed")


@pytest.mark.parametrize("query", ["", "state=x&code=y", "state=a&state=b", "code=x"])
def test_a_callback_out_of_nowhere_is_refused_and_blocks_nobody(ward, query):
    assert page_of(ward.client.get(f"/v1/sign-in/callback?{query}"))[0] == "problem"
    assert set(ward.reasons()) <= {"sign_in_unknown", "callback_malformed"}


@pytest.mark.parametrize("more", ["&code=b", "&iss=x", "&state=b"])
def test_parameters_that_come_twice_are_refused(ward, fake, more):
    assert page_of(ward.client.get(back_of(ward, fake) + more)) == ("problem", "sign_in_failed")
    assert ward.reasons() == ["callback_malformed"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"callback": {"iss": "https://other.test"}}, "provider_bad_answer"),
        ({"callback": {"iss": None}}, "provider_bad_answer"),
        ({"callback": {"code": None, "error": "access_denied"}}, "provider_said_no"),
        ({"callback": {"error": "x"}}, "provider_said_no"),
        ({"callback": {"code": None}}, "provider_said_no"),
        ({"callback": {"code": "stolen"}}, "provider_refused"),
        ({"claims": {"nonce": "another"}}, "id_token_wrong_nonce"),
        ({"claims": {"aud": "another"}}, "id_token_wrong_audience"),
        ({"claims": {"sub": None}}, "id_token_bad_claims"),
        ({"signed_as": "none"}, "id_token_wrong_algorithm"),
    ],
)
def test_what_goes_wrong_at_the_provider_is_one_code_for_the_page(ward, fake, changes, reason):
    for name, value in changes.items():
        setattr(fake, name, value)
    assert problem(ward, fake) == (("problem", "sign_in_failed"), reason)
    assert ward.records_of(SignInSucceeded) == []


def test_a_provider_that_is_away_is_told_as_such(tmp_path):
    away = replace(FakeProvider("http://127.0.0.1:9").settings)
    scene = Scene(tmp_path, away)
    assert page_of(scene.client.get("/v1/sign-in/start")) == ("problem", "provider_unavailable")
    assert scene.reasons() == ["provider_unreachable"]


def test_without_a_provider_nobody_is_sent_anywhere(scene):
    for path in ("/v1/sign-in/start", "/v1/sign-in/callback"):
        assert page_of(scene.client.get(path)) == ("problem", "sign_in_failed")


def test_where_people_come_back_to_does_not_go_by_what_a_request_says(ward, fake):
    headers = {"host": "evil.test", "x-forwarded-host": "evil.test", "forwarded": "host=evil.test"}
    response = ward.client.get("/v1/sign-in/start", headers=headers)
    asked = parse_qs(urlsplit(response.headers["location"]).query)
    assert asked["redirect_uri"] == [f"{ORIGIN}/v1/sign-in/callback"]
    response = ward.client.get("/v1/sign-in/callback", headers=headers)
    assert response.headers["location"].startswith(f"{ORIGIN}/#")


@pytest.mark.parametrize(
    ("address", "name", "has_secure"),
    [
        (ORIGIN, "earwitness-sign-in=", False),
        ("https://testserver", "__Host-earwitness-sign-in=", True),
    ],
)
def test_the_cookie_is_the_servers_alone(tmp_path, fake, address, name, has_secure):
    scene = Scene(tmp_path, fake.settings, address=address)
    cookie = scene.client.get("/v1/sign-in/start").headers["set-cookie"]
    assert cookie.startswith(name)
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert parts == {
        *("httponly", "max-age=600", "path=/", "samesite=lax"),
        *({"secure"} if has_secure else ()),
    }


def test_subjects_of_providers_are_told_apart():
    subjects = {subject_of("https://a.test", "x"), subject_of("https://b.test", "x")}
    assert len(subjects) == 2
    assert all(subject.startswith("oidc:") and subject.endswith(":x") for subject in subjects)
    assert len(subject_of("https://a.test", "x" * 200)) <= 255


# --- settings ---


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"address": "https://a.test/"}, "address"),
        ({"address": "https://A.test"}, "address"),
        ({"address": "https://a.test:443"}, "address"),
        ({"address": "http://a.test"}, "address"),
        ({"address": "a.test"}, "address"),
        ({"address": "https://u:p@a.test"}, "address"),
        ({"token_lifetime_s": 3601}, "token_lifetime_s"),
    ],
)
def test_settings_that_are_wrong_are_told(changes, key):
    [fault] = sign_in_faults(SignInSettings(**changes), 3600)
    assert fault.startswith(f"{key}:")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"issuer": "http://id.test"}, "issuer"),
        ({"issuer": "https://id.test?x"}, "issuer"),
        ({"client_id": ""}, "client_id"),
        ({"name": ""}, "name"),
        ({"scopes": ("openid profile",)}, "scopes"),
        ({"required_claim": "groups"}, "required_claim"),
        ({"proxy": "socks5://x"}, "proxy"),
    ],
)
def test_a_provider_that_is_wrong_is_told(changes, key):
    given = {"issuer": "https://id.test", "client_id": "page", "name": "Ward Login", **changes}
    [fault] = sign_in_faults(SignInSettings(provider=ProviderSettings(**given)), 3600)
    assert fault.startswith(f"provider.{key}:")


def test_settings_that_are_right_are_not_told():
    provider = ProviderSettings("https://id.test/realms/ward/", "page", "Ward Login")
    for address in (None, "https://a.test", "http://localhost:8765", "http://[::1]:8765"):
        assert sign_in_faults(SignInSettings(address=address, provider=provider), 3600) == []


def test_the_problems_of_the_page_are_codes_of_ours():
    codes = {refusal.code for refusal in errors.ALL}
    assert {"code_invalid", "sign_in_failed", "provider_unavailable", "address_blocked"} <= codes
