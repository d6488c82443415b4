"""A monitor's questions in; what it may know out."""

import json

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from server.forwarded import Networks
from server.health import Readiness, health_routes
from server.middleware import ClientAddress

LOOPBACK = ("127.0.0.0/8", "::1")


class Scene:
    """An application of nothing but these questions."""

    def __init__(self) -> None:
        self.has_engine, self.is_trail_failing, self.is_draining = True, False, False

    def ask(self, path, peer=("127.0.0.1", 1234), *, proxies=(), networks=LOOPBACK, **headers):
        readiness = Readiness(
            lambda: self.has_engine, lambda: self.is_trail_failing, lambda: self.is_draining
        )
        app = Starlette(routes=health_routes(readiness, lambda: b"earwitness_up 1\n", networks))
        client = TestClient(ClientAddress(app, Networks(proxies)), client=peer)
        return client.get(path, headers=headers)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_process_that_answers_lives_whatever_else_is_wrong(scene):
    scene.has_engine, scene.is_trail_failing, scene.is_draining = False, True, True
    answer = scene.ask("/health/live", ("192.0.2.1", 1))
    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


def test_a_server_that_can_take_a_session_is_ready(scene):
    answer = scene.ask("/health/ready", ("192.0.2.1", 1))
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    assert answer.headers["cache-control"] == "no-store"


def codes(answer):
    assert answer.status_code == 503
    return [json.loads(line)["code"] for line in answer.text.splitlines()]


def test_readiness_follows_each_part_and_comes_back(scene):
    scene.is_trail_failing = True
    assert codes(scene.ask("/health/ready")) == ["trail_failing"]
    scene.has_engine, scene.is_draining = False, True
    assert codes(scene.ask("/health/ready")) == ["engine_not_open", "trail_failing", "draining"]
    scene.has_engine, scene.is_trail_failing, scene.is_draining = True, False, False
    assert scene.ask("/health/ready").status_code == 200


def test_metrics_are_for_those_whom_the_settings_name(scene):
    answer = scene.ask("/metrics")
    assert (answer.status_code, answer.text) == (200, "earwitness_up 1\n")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert scene.ask("/metrics", ("::1", 1)).status_code == 200
    assert scene.ask("/metrics", ("10.1.2.3", 1), networks=("10.0.0.0/8",)).status_code == 200


@pytest.mark.parametrize("peer", [("192.0.2.1", 1), ("2001:db8::1", 1), ("x", 1)])
def test_for_others_there_is_no_such_page(scene, peer):
    answer = scene.ask("/metrics", peer)
    assert (answer.status_code, answer.text) == (404, "Not Found")


def test_behind_a_trusted_proxy_the_clients_address_counts(scene):
    def status(forwarded_for):
        headers = {"x-forwarded-for": forwarded_for}
        return scene.ask("/metrics", proxies=("127.0.0.1",), **headers).status_code

    assert status("192.0.2.1") == 404
    assert status("127.0.0.2, 192.0.2.1") == 404
    assert status("127.0.0.2") == 200


@pytest.mark.parametrize(
    "header",
    [
        *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via"),
        *("x-real-ip", "true-client-ip", "cf-connecting-ip"),
    ],
)
@pytest.mark.parametrize("proxies", [(), ("127.0.0.1",)])
def test_a_peer_that_speaks_for_somebody_nobody_knows_is_told_nothing(scene, header, proxies):
    answer = scene.ask("/metrics", proxies=proxies, **{header: "no address"})
    assert answer.status_code == 404
