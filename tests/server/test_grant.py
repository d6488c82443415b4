"""Claims and settings to rights."""

from dataclasses import replace

from security.limits import Limits
from security.tokens import Claims
from server.grant import Grant, GrantSettings, grant_from_claims, least

CLAIMS = Claims(
    subject="alice",
    issuer="bank",
    token_id="t-1",  # noqa: S106 (an id, not a token)
    key_id="k-1",
    issued_at_s=100,
    expires_at_s=1000,
    scopes=frozenset({"transcribe"}),
    models=frozenset({"tiny.en"}),
    languages=None,
    limits=Limits(session_audio_s=60, concurrent_sessions=9),
)


def test_claims_become_rights_that_run_from_now():
    assert grant_from_claims(CLAIMS, GrantSettings(), 400.0) == Grant(
        subject="alice",
        issuer="bank",
        token_id="t-1",  # noqa: S106 (an id, not a token)
        key_id="k-1",
        issued_at_s=100,
        expires_in_s=600.0,
        scopes=frozenset({"transcribe"}),
        limits=CLAIMS.limits,
        models=frozenset({"tiny.en"}),
        languages=None,
    )


def test_scopes_count_in_tokens_of_their_own_audience_only():
    every = replace(CLAIMS, scopes=frozenset({"transcribe", "admin", "audit", "other"}))
    of_session = grant_from_claims(every, GrantSettings(), 0.0)
    assert of_session.scopes == {"transcribe", "other"}
    of_admin = grant_from_claims(replace(every, is_for_admin=True), GrantSettings(), 0.0)
    assert of_admin.scopes == {"admin", "audit"}


def test_the_default_holds_where_a_token_says_nothing_and_the_ceiling_in_any_case():
    settings = GrantSettings(
        default=Limits(session_bytes=5, session_audio_s=1, starts_per_minute=50),
        most=Limits(concurrent_sessions=2, starts_per_minute=6),
    )
    assert grant_from_claims(CLAIMS, settings, 0.0).limits == Limits(
        session_audio_s=60, session_bytes=5, concurrent_sessions=2, starts_per_minute=6
    )


def test_zero_is_a_limit():
    assert least(Limits(session_bytes=0), Limits(session_bytes=7)).session_bytes == 0


def test_one_subject_of_two_issuers_is_two():
    ours = grant_from_claims(CLAIMS, GrantSettings(), 0.0)
    assert ours.who == "bank alice"


def test_what_a_grant_covers_is_its_models_and_only_languages_that_it_names():
    any_of_all = replace(grant_from_claims(CLAIMS, GrantSettings(), 0.0), models=None)
    assert any_of_all.covers("large", frozenset({None}))
    of_one = replace(any_of_all, models=frozenset({"large"}), languages=frozenset({"en"}))
    assert of_one.covers("large")
    assert of_one.covers("large", frozenset({"en"}))
    assert not of_one.covers("tiny", frozenset({"en"}))
    assert not of_one.covers("large", frozenset({"de"}))
    assert not of_one.covers("large", frozenset({None}))


def test_who_may_only_have_one_language_need_not_say_which():
    known = frozenset({"en", "de"})
    anything = grant_from_claims(CLAIMS, GrantSettings(), 0.0)
    assert anything.language_of(None, known) is None
    one = replace(anything, languages=frozenset({"en", "xx"}))
    assert [one.language_of(wished, known) for wished in (None, "en", "de")] == ["en", "en", None]


PBX = replace(grant_from_claims(CLAIMS, GrantSettings(), 0.0), subject="pbx")


def owners_read(grant, call_id="c-1"):
    owners = ("bank pbx", "bank other", "bank", "bankers pbx", "other pbx", "bank *", "*")
    return [owner for owner in owners if grant.reads_call(call_id, owner)]


def test_what_the_claims_say_of_calls_becomes_rights():
    claims = replace(CLAIMS, call_owners=frozenset({"pbx"}), calls=frozenset({"c-1"}))
    grant = grant_from_claims(claims, GrantSettings(), 0.0)
    assert (grant.call_owners, grant.calls) == ({"pbx"}, {"c-1"})
    assert grant.call is None


def test_who_names_no_owners_reads_its_own_calls():
    assert owners_read(PBX) == ["bank pbx"]


def test_who_names_owners_reads_theirs_and_its_own_only_if_it_is_among_them():
    assert owners_read(replace(PBX, call_owners=frozenset({"other"}))) == ["bank other"]
    assert owners_read(replace(PBX, call_owners=frozenset())) == []


def test_everybodys_calls_are_those_of_its_issuer_alone():
    anybodys = replace(PBX, call_owners=frozenset({"*"}))
    assert owners_read(anybodys) == ["bank pbx", "bank other", "bank *"]


def test_a_subject_that_is_called_like_everybody_reads_its_own_alone():
    assert owners_read(replace(PBX, subject="*")) == ["bank *"]


def test_who_names_calls_reads_those_and_no_others():
    some = replace(PBX, calls=frozenset({"c-1", "c-2"}))
    assert owners_read(some) == ["bank pbx"]
    assert owners_read(some, "c-3") == owners_read(replace(PBX, calls=frozenset())) == []
