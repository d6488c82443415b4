"""A row of the trail in, an event of the Open Cybersecurity Schema Framework (1.6) out.

One table says for each kind of row which class and activity it is: logons and tickets are
Authentication, what administrators do is API Activity, findings are Detection Findings, the rest is
the life of an application. What has no place in the schema is kept under `unmapped`, so nothing is
lost on the way. A row of a newer version, which the table does not know, is a base event.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from security.audit import AuditRecord

SCHEMA_VERSION = "1.6.0"
_NS_PER_MS = 10**6
_PRODUCT = {"name": "Earwitness", "vendor_name": "Earwitness"}
_APP = {"name": "Earwitness"}
_OTHER_ACTIVITY = 99

AUTHENTICATION, AUTHORIZE_SESSION, ENTITY_MANAGEMENT = 3002, 3003, 3004
API_ACTIVITY, APPLICATION_LIFECYCLE, DETECTION_FINDING, BASE_EVENT = 6003, 6002, 2004, 0
_LOGON, _LOGOFF, _TICKET = 1, 2, 3
_ASSIGN_PRIVILEGES = 1
_CREATE, _READ, _UPDATE, _DELETE = 1, 2, 3, 4
_INSTALL, _REMOVE, _START, _STOP, _RESTART, _UPDATED = 1, 2, 3, 4, 5, 8
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH, _CRITICAL = 1, 2, 3, 4, 5
_SUCCESS, _FAILURE = 1, 2
_NEW_FINDING = 1
_BY_SEVERITY = {"low": _LOW, "medium": _MEDIUM, "high": _HIGH, "critical": _CRITICAL}


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a kind of row is in the schema."""

    class_uid: int
    activity_id: int
    severity_id: int = _INFORMATIONAL
    """When it succeeded."""
    failed_severity_id: int = _MEDIUM
    activity_name: str | None = None
    """Must be said where the activity is none of the schema's."""


def _other(class_uid: int, name: str, severity_id: int = _INFORMATIONAL) -> Mapped:
    return Mapped(class_uid, _OTHER_ACTIVITY, severity_id, activity_name=name)


MAPPED = {
    "handshake.refused": Mapped(AUTHENTICATION, _LOGON),
    "handshake.refused_often": Mapped(AUTHENTICATION, _LOGON),
    "authentication.succeeded": Mapped(AUTHENTICATION, _LOGON),
    "ticket.issued": Mapped(AUTHENTICATION, _TICKET),
    "sign_in.succeeded": Mapped(AUTHENTICATION, _LOGON),
    "sign_in.renewed": Mapped(AUTHENTICATION, _TICKET),
    "session.started": Mapped(AUTHENTICATION, _LOGON),
    "session.away": Mapped(AUTHENTICATION, _LOGOFF),
    "session.resumed": Mapped(AUTHENTICATION, _LOGON),
    "session.ended": Mapped(AUTHENTICATION, _LOGOFF, failed_severity_id=_LOW),
    "session.lost": Mapped(AUTHENTICATION, _LOGOFF, failed_severity_id=_LOW),
    "call.started": Mapped(API_ACTIVITY, _CREATE),
    "call.ended": _other(API_ACTIVITY, "End"),
    "call.watched": Mapped(API_ACTIVITY, _READ),
    "call.unwatched": _other(API_ACTIVITY, "End of reading"),
    "session.refreshed": Mapped(AUTHORIZE_SESSION, _ASSIGN_PRIVILEGES),
    "session.refresh_refused": Mapped(AUTHORIZE_SESSION, _ASSIGN_PRIVILEGES),
    "session.ended_by_administrator": Mapped(API_ACTIVITY, _DELETE, _LOW),
    "token.minted": Mapped(API_ACTIVITY, _CREATE),
    "token.revoked": Mapped(API_ACTIVITY, _DELETE, _LOW),
    "keys.changed": Mapped(API_ACTIVITY, _UPDATE, _LOW),
    "keys.signing_rotated": Mapped(API_ACTIVITY, _UPDATE, _LOW),
    "pack.sealed": Mapped(API_ACTIVITY, _CREATE),
    "address.blocked": Mapped(API_ACTIVITY, _CREATE, _MEDIUM),
    "address.unblocked": Mapped(API_ACTIVITY, _DELETE, _LOW),
    "trail.began": Mapped(API_ACTIVITY, _CREATE, _LOW),
    "trail.read": Mapped(API_ACTIVITY, _READ),
    "trail.exported": Mapped(API_ACTIVITY, _READ),
    "trail.copied": Mapped(API_ACTIVITY, _READ),
    "trail.verified": Mapped(API_ACTIVITY, _READ, failed_severity_id=_CRITICAL),
    "trail.dropped": Mapped(API_ACTIVITY, _DELETE, _LOW),
    "suspicion.found": Mapped(DETECTION_FINDING, _CREATE),
    "server.started": Mapped(APPLICATION_LIFECYCLE, _START),
    "server.stopped": Mapped(APPLICATION_LIFECYCLE, _STOP),
    "server.found_killed": Mapped(APPLICATION_LIFECYCLE, _STOP, failed_severity_id=_MEDIUM),
    "server.configured": Mapped(APPLICATION_LIFECYCLE, _UPDATED),
    "model.opened": Mapped(APPLICATION_LIFECYCLE, _START),
    "model.refused": Mapped(APPLICATION_LIFECYCLE, _START, failed_severity_id=_CRITICAL),
    "model.older_allowed": Mapped(APPLICATION_LIFECYCLE, _UPDATED, _MEDIUM),
    "engine.restarted": Mapped(APPLICATION_LIFECYCLE, _RESTART, failed_severity_id=_MEDIUM),
    "trail.gap": Mapped(
        APPLICATION_LIFECYCLE,
        _OTHER_ACTIVITY,
        failed_severity_id=_CRITICAL,
        activity_name="Audit gap",
    ),
    "checkpoint.copy_failed": Mapped(
        APPLICATION_LIFECYCLE,
        _OTHER_ACTIVITY,
        failed_severity_id=_HIGH,
        activity_name="Checkpoint copy",
    ),
}
"""By the name of the event."""
_UNKNOWN = _other(BASE_EVENT, "Other")


def ocsf_event(record: AuditRecord) -> dict[str, object]:
    """With every attribute that its class requires."""
    mapped = MAPPED.get(record.event, _UNKNOWN)
    has_failed = record.outcome == "failure"
    severity_id = mapped.failed_severity_id if has_failed else mapped.severity_id
    time_ms = record.at_utc_ns // _NS_PER_MS
    event: dict[str, object] = {
        "class_uid": mapped.class_uid,
        "category_uid": mapped.class_uid // 1000,
        "activity_id": mapped.activity_id,
        "type_uid": mapped.class_uid * 100 + mapped.activity_id,
        "severity_id": severity_id,
        "status_id": _FAILURE if has_failed else _SUCCESS,
        "time": time_ms,
        "metadata": {
            "version": SCHEMA_VERSION,
            "product": _PRODUCT,
            "event_code": record.event,
            "uid": str(record.seq),
            "original_time": str(record.at_utc_ns),
        },
    }
    if mapped.activity_name:
        event["activity_name"] = mapped.activity_name
    if record.reason:
        event["status_detail"] = record.reason
    n_refused = record.detail.get("n_refused")
    if isinstance(n_refused, int):
        event |= {"count": n_refused, "end_time": time_ms}
        since_utc_ns = record.detail.get("since_utc_ns")
        event["start_time"] = (
            since_utc_ns // _NS_PER_MS if isinstance(since_utc_ns, int) else time_ms
        )
    event |= _OF_CLASS[mapped.class_uid](record)
    event["unmapped"] = _unmapped(record)
    return event


def _authentication(record: AuditRecord) -> dict[str, object]:
    return {
        "user": _user(record),
        "service": _APP,
        "is_remote": True,
        "auth_protocol_id": _OTHER_ACTIVITY,
        "auth_protocol": "JWT",
        **_source(record),
        **_session(record),
    }


def _authorize_session(record: AuditRecord) -> dict[str, object]:
    return {"user": _user(record), "privileges": ["transcribe"], **_session(record)}


def _api_activity(record: AuditRecord) -> dict[str, object]:
    by = record.detail.get("by")
    if record.event.startswith("call."):  # which is done by whose token it is
        by = record.subject
    actor = {"user": {"name": str(by)}} if by else {"app_name": _APP["name"]}
    whom = [{"type": "user", "name": record.subject}] if record.subject else []
    source = _source(record) or {"src_endpoint": {"svc_name": "command"}}
    return {"actor": actor, "api": {"operation": record.event}, "resources": whom, **source}


def _finding(record: AuditRecord) -> dict[str, object]:
    rule = str(record.detail.get("rule") or "unknown")
    found: dict[str, object] = {
        "finding_info": {
            "uid": str(record.seq),
            "title": rule,
            "analytic": {"name": rule, "type_id": 1},
        },
        "severity_id": _BY_SEVERITY.get(str(record.detail.get("severity")), _MEDIUM),
        "status_id": _NEW_FINDING,
        "is_alert": True,
    }
    evidence = _source(record)
    if record.subject:
        evidence["user"] = _user(record)
    return {**found, "evidences": [evidence]} if evidence else found


def _lifecycle(record: AuditRecord) -> dict[str, object]:
    name = record.detail.get("model") or record.detail.get("pack")
    version = record.detail.get("version") or record.detail.get("pack_version")
    app = {"name": str(name or _APP["name"])}
    return {"app": {**app, "version": str(version)} if version is not None else app}


def _base(record: AuditRecord) -> dict[str, object]:
    return {"message": record.event}


_OF_CLASS = {
    AUTHENTICATION: _authentication,
    AUTHORIZE_SESSION: _authorize_session,
    API_ACTIVITY: _api_activity,
    DETECTION_FINDING: _finding,
    APPLICATION_LIFECYCLE: _lifecycle,
    BASE_EVENT: _base,
}


def _user(record: AuditRecord) -> dict[str, object]:
    """A name is required, also of somebody who has shown none."""
    return {"name": record.subject or "unknown"}


def _source(record: AuditRecord) -> dict[str, object]:
    if not record.address:
        return {}
    try:
        ip_address(record.address)
        endpoint: dict[str, object] = {"ip": record.address}
    except ValueError:  # a network, or what a proxy told
        endpoint = {"name": record.address}
    port = record.detail.get("peer_port")
    return {"src_endpoint": {**endpoint, "port": port} if isinstance(port, int) else endpoint}


def _session(record: AuditRecord) -> dict[str, object]:
    if not record.session_id:
        return {}
    issuer = record.detail.get("issuer")
    session = {"uid": record.session_id, "is_remote": True}
    return {"session": {**session, "issuer": issuer} if issuer else session}


def _unmapped(record: AuditRecord) -> Mapping[str, object]:
    """What the schema has no place for, or only a coarser one."""
    columns = {
        "seq": record.seq,
        "subject": record.subject,
        "session_id": record.session_id,
        "token_hash": record.token_hash,
        "audio_ms": record.audio_ms,
        "bytes_received": record.bytes_received,
    }
    kept = {name: value for name, value in columns.items() if value is not None}
    return {**record.detail, **kept}
