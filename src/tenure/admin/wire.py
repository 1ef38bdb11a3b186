"""What goes over the admin endpoint's wire: requests checked field by field, answers, and errors by their codes.

Everything here is a pure function. A request is a JSON object whose fields are all known; the error that a bad one
raises says which field is wrong. An error travels as

    {"error": {"code": "change_in_progress", "message": "...", "retryable": true, "details": {...}}}

with the codes of `tenure.errors`, which never change, and becomes the same class on the other side; the codes that only
a web server has are `not_found`, `method_not_allowed`, `forbidden`, `unsupported_media_type` and `unsupported`.
"""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

from tenure import errors
from tenure.admin.address import split_address
from tenure.engine.protocol import Change, MemberChange
from tenure.errors import InvalidArgument, Refused, TenureError, TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tenure.engine.protocol import Membership

__all__ = [
    "DEFAULT_TIMEOUT_S",
    "MAX_BODY_BYTES",
    "HttpRefusal",
    "changes_of",
    "error_code",
    "error_from_json",
    "error_json",
    "fields",
    "http_status",
    "membership_json",
    "parse_body",
    "target_of",
    "timeout_of",
]

MAX_BODY_BYTES = 64 << 10
MAX_CHANGES = 32
DEFAULT_TIMEOUT_S = 10.0
MAX_TIMEOUT_S = 60.0

# Status codes by error code; what is not named is a refusal of this member's own doing, 503.
STATUSES = {
    "invalid_argument": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "unknown_member": 404,
    "method_not_allowed": 405,
    "already_member": 409,
    "not_a_learner": 409,
    "learner_behind": 409,
    "change_in_progress": 409,
    "would_lose_quorum": 409,
    "length_required": 411,
    "too_large": 413,
    "unsupported_media_type": 415,
    "not_leader": 421,
    "unsupported": 501,
    "timeout": 504,
    "outcome_unknown": 504,
}

ERRORS = {kind.code: kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, TenureError)}


class HttpRefusal(Refused):
    """A request that no member would understand; `http_code` says why, in a word."""

    def __init__(self, message: str = "", /, *, http_code: str) -> None:
        super().__init__(message, http_code=http_code)
        self.http_code = http_code


def code_of(error: TenureError) -> str:
    """The code that stands in the answer."""
    return error.http_code if isinstance(error, HttpRefusal) else error.code


def http_status(error: TenureError) -> int:
    """The status code of an answer that carries this error."""
    return STATUSES.get(code_of(error), 500 if isinstance(error, errors.StorageError) else 503)


def error_json(error: TenureError, **more: Any) -> dict[str, Any]:
    """An error as the body of an answer; `more` are details that the error itself does not know."""
    details = {name: value for name, value in {**error.details, **more}.items() if value is not None}
    details.pop("http_code", None)
    return {
        "error": {
            "code": code_of(error),
            "message": str(error),
            "retryable": error.retryable,
            "details": {name: value if is_plain(value) else str(value) for name, value in details.items()},
        }
    }


def is_plain(value: object) -> bool:
    """Whether JSON has it."""
    return isinstance(value, str | int | float | bool)


def error_code(body: Mapping[str, Any]) -> str | None:
    """The code of the error that an answer carries; None when it carries none."""
    found = body.get("error")
    code = found.get("code") if isinstance(found, dict) else None
    return code if isinstance(code, str) else None


def error_from_json(body: Any) -> TenureError | None:
    """The error that an answer carries; None when it carries none."""
    found = body.get("error") if isinstance(body, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("code"), str):
        return None
    code, message = found["code"], str(found.get("message", found["code"]))
    details = found.get("details")
    known: dict[str, Any] = dict(details) if isinstance(details, dict) else {}
    kind = ERRORS.get(code)
    if kind is None:
        return HttpRefusal(message, http_code=code)
    wanted = inspect.signature(kind).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in wanted.values()):
        return kind(message, **known)
    taken = {name: known[name] for name in wanted if name in known}
    try:
        error = kind(message, **taken)
    except TypeError:  # a detail is missing that its class insists on
        return Refused(message, code=code)
    error.details |= known
    return error


# ------------------------------------------------------------------------------------------------------------ requests


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object that a request carries; an empty body stands for an empty object."""
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge("the body is too large", size_bytes=len(body), limit_bytes=MAX_BODY_BYTES)
    try:
        found = json.loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the body is not JSON: {error}", field="body") from None
    if not isinstance(found, dict):
        raise InvalidArgument("the body is not a JSON object", field="body")
    return found


def fields(request: Mapping[str, Any], *known: str) -> None:
    """Refuse a request that has fields which nobody knows."""
    unknown = sorted(set(request) - set(known))
    if unknown:
        raise InvalidArgument(f"unknown fields: {', '.join(unknown)}", field=unknown[0])


def timeout_of(request: Mapping[str, Any]) -> float:
    """How long the caller wants to wait, in seconds."""
    found = request.get("timeout_s", DEFAULT_TIMEOUT_S)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise InvalidArgument(f"timeout_s: {found!r} is not a number of seconds", field="timeout_s")
    if not 0 < found <= MAX_TIMEOUT_S:
        raise InvalidArgument(f"timeout_s: from above 0 to {MAX_TIMEOUT_S:g} seconds", field="timeout_s")
    return float(found)


def id_of(request: Mapping[str, Any], field: str) -> int:
    """A member id."""
    found = request.get(field)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 < found < 1 << 64:
        raise InvalidArgument(f"{field}: {found!r} is not a member id, a whole number above 0", field=field)
    return found


def target_of(request: Mapping[str, Any]) -> int | None:
    """Who is to lead; None leaves the choice to the leader."""
    return None if request.get("target") is None else id_of(request, "target")


def address_of(request: Mapping[str, Any], field: str) -> str:
    """A "host:port" that somebody can connect to."""
    found = request.get(field)
    try:
        if not isinstance(found, str) or len(found) > 300 or split_address(found)[1] == 0:
            raise ValueError(f"{found!r} is not host:port")
    except ValueError as error:
        raise InvalidArgument(f"{field}: {error}", field=field) from None
    return found


def changes_of(request: Mapping[str, Any]) -> tuple[list[MemberChange], dict[int, str]]:
    """The changes that are asked for, and the admin addresses that come along with new members."""
    if "changes" not in request:
        listed: Any = [{name: value for name, value in request.items() if name != "timeout_s"}]
    else:
        fields(request, "changes", "timeout_s")
        listed = request["changes"]
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_CHANGES or not all(is_object(one) for one in listed):
        raise InvalidArgument(f"changes: wants a list of 1 to {MAX_CHANGES} objects", field="changes")
    changes = [change_of(one) for one in listed]
    if len({one.id for one in changes}) != len(changes):
        raise InvalidArgument("changes: one change for each member", field="changes")
    return changes, {one["id"]: address_of(one, "admin") for one in listed if one.get("admin") is not None}


def is_object(value: object) -> bool:
    """Whether it is a JSON object."""
    return isinstance(value, dict)


def change_of(request: Mapping[str, Any]) -> MemberChange:
    """One change."""
    fields(request, "change", "id", "address", "admin")
    try:
        change = Change(str(request.get("change")))
    except ValueError:
        known = ", ".join(Change)
        raise InvalidArgument(f"change: {request.get('change')!r} is none of {known}", field="change") from None
    id = id_of(request, "id")
    if change in (Change.ADD_LEARNER, Change.ADD_VOTER):
        return MemberChange(change, id, address_of(request, "address"))
    if request.get("address") is not None:
        raise InvalidArgument(f"address: is for members that are added, not for {change}", field="address")
    return MemberChange(change, id)


# ------------------------------------------------------------------------------------------------------------- answers


def membership_json(membership: Membership, admins: Mapping[int, str]) -> dict[str, Any]:
    """A membership as JSON; `admins` has the admin addresses that are known."""
    return {
        "index": membership.index,
        "joint": membership.joint,
        "voters": list(membership.voters),
        "outgoing": list(membership.outgoing),
        "learners": list(membership.learners),
        "learners_next": list(membership.learners_next),
        "auto_leave": membership.auto_leave,
        "members": [
            {
                "id": one.id,
                "address": one.address,
                "admin": admins.get(one.id),
                "voter": one.voter,
                "learner": one.learner,
                "outgoing": one.outgoing,
                "leader": one.leader,
            }
            for one in membership.members
        ],
    }
