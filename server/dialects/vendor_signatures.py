"""The upgrade of a vendor and the secrets that it shares in; nothing out, or a refusal.

Twilio signs the address that it was given, not the one that arrived behind a proxy, and it signs
its `wss` form whatever a framework calls it; so the address comes from the settings and never from
`Host` or `X-Forwarded-*`. Vendors differ in whether they add a slash or the port, so each form is
tried, with each secret, and all of them always. The signature has neither time nor nonce: it says
which account calls, and anybody who saw it can send it again, so a token is asked for, too.

Refused: no signature, a signature of another address or scheme, an unknown algorithm.
"""

import base64
import hmac
from collections.abc import Sequence

from security.secret import SecretBytes
from server import errors
from server.dialects.values import Upgrade

_SIGNATURE_HEADER = "x-twilio-signature"
_SETTINGS_HEADER = "x-twilio-webhooks-signature-settings"
_DEFAULT_ALGORITHM = "HMAC_SHA1"
_DIGESTS = {_DEFAULT_ALGORITHM: "sha1", "HMAC_SHA256": "sha256"}
_PORT = ":443"


def check_twilio_signature(
    upgrade: Upgrade, address: str, auth_tokens: Sequence[SecretBytes]
) -> None:
    """Whether Twilio sent the upgrade for one who has one of `auth_tokens`; several while they are
    being changed. `address` is the public one, as Twilio was given it. Raises RefusedError.
    """
    signature = upgrade.header(_SIGNATURE_HEADER)
    if not signature:
        raise errors.RefusedError(errors.UNAUTHENTICATED, "signature_missing")
    digest = _DIGESTS.get(_algorithm_of(upgrade.header(_SETTINGS_HEADER) or ""))
    sent, is_right = signature.encode(errors="replace"), False
    for auth_token in auth_tokens if digest else ():
        for form in _forms_of(address):
            with auth_token.expose() as key:
                expected = base64.b64encode(hmac.digest(key, form.encode(), digest or ""))
            is_right |= len(auth_token) > 0 and hmac.compare_digest(expected, sent)
    if not is_right:
        raise errors.RefusedError(errors.UNAUTHENTICATED, "signature_wrong")


def _algorithm_of(signature_settings: str) -> str:
    """Of `key=…,algorithm=…`."""
    for part in signature_settings.split(","):
        name, _, algorithm = part.partition("=")
        if name.strip() == "algorithm":
            return algorithm.strip().upper()
    return _DEFAULT_ALGORITHM


def _forms_of(address: str) -> list[str]:
    """With and without the slash at the end, with and without the port that `wss` has anyway."""
    _, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    hosts = [host.removesuffix(_PORT)]
    if ":" not in hosts[0].rpartition("]")[2]:
        hosts.append(hosts[0] + _PORT)
    bare = (slash + path).removesuffix("/")
    return [f"wss://{name}{bare}{end}" for name in hosts for end in ("", "/")]
