"""Every refusal has a place among OpenAI's."""

import json

import pytest

from server import errors
from server.dialects.openai_errors import error_body, error_headers, fault_of

KINDS = {
    "invalid_request_error",
    "permission_error",
    "rate_limit_error",
    "insufficient_quota",
    "server_error",
}


@pytest.mark.parametrize("refusal", errors.ALL, ids=lambda refusal: refusal.code)
def test_it_is_of_a_kind_that_clients_know(refusal):
    fault = fault_of(refusal)
    assert fault.type in KINDS
    assert (fault.type == "server_error") == (refusal.http_status >= 500)
    assert (fault.code == "invalid_api_key") == (refusal.http_status == 401)
    assert fault.message == refusal.text


def test_the_body_names_the_field_and_the_headers_say_when_to_come_again():
    body = json.loads(error_body(errors.BAD_REQUEST, "file"))
    assert body["error"]["param"] == "file"
    assert dict(error_headers(errors.OVERLOADED)) == {"x-should-retry": "true", "retry-after": "5"}
