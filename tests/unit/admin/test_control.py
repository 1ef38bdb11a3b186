"""The admin endpoint's operations: what they answer, whom they refuse, and how a client finds the leader."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time

import pytest

from tenure import errors
from tenure.admin import AdminClient, AdminServer, MemberControl, wire
from tenure.admin import client as client_module
from tenure.admin import control as control_module
from tenure.engine.protocol import Change, MemberChange, Members
from tenure.errors import (
    AlreadyMember,
    ChangeInProgress,
    InvalidArgument,
    LearnerBehind,
    NotALearner,
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    ProtocolError,
    StateDiverged,
    StorageError,
    TenureError,
    Timeout,
    Unauthorized,
    UnknownMember,
    WouldLoseQuorum,
)

from .fake_members import FakeMembers

JSON = {"Content-Type": "application/json"}
TOKEN = "correct-horse-battery-staple"


class NoReport:
    def status(self):
        return {"member_id": 1, "state": "leader"}

    def healthy(self):
        return True


class Endpoint:
    """One fake member and its admin endpoint."""

    def __init__(self, stack: contextlib.ExitStack, engine: FakeMembers, **how) -> None:
        self.engine = engine
        self.admins = how.pop("admins", {})
        control = MemberControl(engine, admins=self.admins, cluster=lambda: {"cluster": "shop"})
        self.server = stack.enter_context(AdminServer(NoReport(), "127.0.0.1", 0, control=control, **how))
        self.address = f"127.0.0.1:{self.server.port}"

    def fetch(self, method: str, path: str, body: object = None, headers: dict | None = None):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, content, JSON if headers is None else headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read()), response.headers
        finally:
            connection.close()

    def post(self, path: str, body: object, headers: dict | None = None):
        return self.fetch("POST", path, body, headers)


@pytest.fixture
def endpoints():
    with contextlib.ExitStack() as stack:
        yield lambda engine=None, **how: Endpoint(stack, engine or FakeMembers(), **how)


@pytest.fixture
def leader(endpoints):
    return endpoints()


def test_the_fake_speaks_the_protocol():
    assert isinstance(FakeMembers(), Members)


# -------------------------------------------------------------------------------------------------------------- answers


def test_members_are_told(endpoints):
    leader = endpoints(admins={2: "10.0.0.2:7201"})
    status, answer, _ = leader.fetch("GET", "/v1/members")
    assert status == 200
    assert (answer["asked"], answer["leader"], answer["voters"], answer["learners"]) == (1, 1, [1, 2, 3], [])
    assert answer["joint"] is False
    assert answer["members"][1] == {
        "id": 2, "address": "10.0.0.2:7101", "admin": "10.0.0.2:7201",
        "voter": True, "learner": False, "outgoing": False, "leader": False,
    }  # fmt: skip


def test_what_a_host_that_joins_must_know_is_told(leader):
    status, answer, _ = leader.fetch("GET", "/v1/cluster")
    assert status == 200
    assert answer["cluster"] == "shop"
    assert answer["membership"]["voters"] == [1, 2, 3]


def test_the_life_of_a_member(leader):
    _, answer, _ = leader.post(
        "/v1/members", {"change": "add-learner", "id": 4, "address": "10.0.0.4:7101", "admin": "10.0.0.4:7201"}
    )
    assert answer["learners"] == [4]
    assert answer["members"][3]["admin"] == "10.0.0.4:7201"
    assert leader.post("/v1/members", {"change": "promote", "id": 4})[1]["voters"] == [1, 2, 3, 4]
    assert leader.post("/v1/members", {"change": "demote", "id": 4})[1]["learners"] == [4]
    assert leader.post("/v1/members", {"change": "remove", "id": 4})[1]["index"] == 4
    assert leader.post("/v1/members", {"change": "add", "id": 5, "address": "[::1]:7101"})[1]["voters"] == [1, 2, 3, 5]
    assert leader.fetch("GET", "/v1/members")[1]["voters"] == [1, 2, 3, 5]
    assert leader.engine.asked[0] == ("change", (MemberChange(Change.ADD_LEARNER, 4, "10.0.0.4:7101"),), 10.0)


def test_several_changes_are_one(leader):
    changes = [{"change": "add", "id": 4, "address": "10.0.0.4:7101"}, {"change": "remove", "id": 1}]
    status, answer, _ = leader.post("/v1/members", {"changes": changes, "timeout_s": 3})
    assert status == 200
    assert answer["voters"] == [2, 3, 4]
    assert answer["index"] == 1
    assert leader.engine.asked[0][2] == 3


def test_leadership_and_snapshots(leader):
    assert leader.post("/v1/snapshot", {})[1] == {"member": 1, "index": 4711}
    assert leader.post("/v1/transfer-leader", {"target": 3})[1] == {"leader": 3}
    assert leader.engine.asked[-1] == ("transfer", 3, 10.0)


def test_who_leads_already_need_not_take_over(leader):
    assert leader.post("/v1/transfer-leader", {"target": 1})[1] == {"leader": 1}
    assert leader.engine.asked == []


def test_an_empty_body_is_an_empty_object(leader):
    assert leader.post("/v1/transfer-leader", b"")[1] == {"leader": 2}


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b"\xff\xfe", "body"),
        (b"[" * 60_000, "body"),
        ({}, "change"),
        ({"change": "grow", "id": 4}, "change"),
        ({"change": "remove"}, "id"),
        ({"change": "remove", "id": "4"}, "id"),
        ({"change": "remove", "id": 0}, "id"),
        ({"change": "remove", "id": True}, "id"),
        ({"change": "remove", "id": 1 << 64}, "id"),
        ({"change": "remove", "id": 4, "force": True}, "force"),
        ({"change": "remove", "id": 4, "address": "10.0.0.4:7101"}, "address"),
        ({"change": "add", "id": 4}, "address"),
        ({"change": "add", "id": 4, "address": "10.0.0.4"}, "address"),
        ({"change": "add", "id": 4, "address": "10.0.0.4:0"}, "address"),
        ({"change": "add", "id": 4, "address": 7101}, "address"),
        ({"change": "add", "id": 4, "address": "x" * 400 + ":1"}, "address"),
        ({"change": "add", "id": 4, "address": "10.0.0.4:7101", "admin": "there"}, "admin"),
        ({"changes": []}, "changes"),
        ({"changes": [4]}, "changes"),
        ({"changes": [{"change": "remove", "id": 1}] * 2}, "changes"),
        ({"changes": [{"change": "remove", "id": id + 1} for id in range(33)]}, "changes"),
        ({"changes": [{"change": "remove", "id": 1}], "id": 4}, "id"),
        ({"change": "remove", "id": 4, "timeout_s": "soon"}, "timeout_s"),
        ({"change": "remove", "id": 4, "timeout_s": 0}, "timeout_s"),
        ({"change": "remove", "id": 4, "timeout_s": 1e9}, "timeout_s"),
        (b'{"change": "remove", "id": 4, "timeout_s": NaN}', "timeout_s"),
        ({"change": "remove", "id": 4, "timeout_s": 10**400}, "timeout_s"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_field(leader, body, field):
    status, answer, _ = leader.post("/v1/members", body)
    assert status == 400
    assert answer["error"]["code"] == "invalid_argument"
    assert answer["error"]["details"]["field"] == field
    assert leader.engine.asked == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AlreadyMember("twice", id=4), 409),
        (UnknownMember("who?", id=9), 404),
        (NotALearner("votes", id=1), 409),
        (LearnerBehind("slow", id=4), 409),
        (ChangeInProgress("wait"), 409),
        (WouldLoseQuorum("nobody"), 409),
        (Overloaded("full", limit="uncommitted_bytes"), 503),
        (Timeout("late"), 504),
        (OutcomeUnknown("lost"), 504),
        (StateDiverged("differs", index=7, own_hash=1, leader_hash=2), 503),
        (StorageError("broken", path="/data"), 500),
        (InvalidArgument("no", field="target"), 400),
    ],
    ids=lambda one: one.code if isinstance(one, TenureError) else None,
)
def test_every_error_travels_by_its_code_and_arrives_as_itself(leader, error, status):
    leader.engine.refusals = [error]
    found, answer, _ = leader.post("/v1/members", {"change": "remove", "id": 2})
    assert found == status
    assert answer["error"]["code"] == error.code
    assert answer["error"]["retryable"] is error.retryable
    arrived = wire.error_from_json(answer)
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


def test_all_errors_of_the_tree_can_travel():
    for kind in wire.ERRORS.values():
        arrived = wire.error_from_json({"error": {"code": kind.code, "message": "m", "details": {}}})
        assert isinstance(arrived, TenureError)
        assert str(arrived) == "m"


def test_a_code_that_nobody_knows_is_still_an_error():
    arrived = wire.error_from_json({"error": {"code": "purple", "message": "m"}})
    assert isinstance(arrived, errors.Refused)
    assert wire.error_json(arrived)["error"]["code"] == "purple"


def test_a_defect_is_an_answer_without_its_details(leader, caplog):
    leader.engine.refusals = [ZeroDivisionError("secret")]
    status, answer, _ = leader.post("/v1/members", {"change": "remove", "id": 2})
    assert (status, answer["error"]["code"]) == (500, "error")
    assert "secret" not in json.dumps(answer)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "headers",
    [
        {**JSON, "Origin": "http://evil.example"},
        {**JSON, "Origin": "null"},
        {**JSON, "Sec-Fetch-Site": "cross-site"},
        {**JSON, "Sec-Fetch-Site": "same-origin"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/members"), ("GET", "/v1/members"), ("GET", "/v1/cluster")])
def test_a_web_page_is_refused(leader, headers, method, path):
    status, answer, found = leader.fetch(method, path, {"change": "remove", "id": 2}, headers)
    assert (status, answer["error"]["code"]) == (403, "forbidden")
    assert "Access-Control-Allow-Origin" not in found
    assert leader.engine.asked == []


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json"]
)
def test_a_form_is_refused(leader, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    status, answer, _ = leader.post("/v1/members", {"change": "remove", "id": 2}, headers)
    assert (status, answer["error"]["code"]) == (415, "unsupported_media_type")
    assert leader.engine.asked == []


def test_a_preflight_is_no_invitation(leader):
    connection = http.client.HTTPConnection("127.0.0.1", leader.server.port, timeout=10)
    connection.request("OPTIONS", "/v1/members", headers={"Origin": "http://evil.example"})
    response = connection.getresponse()
    assert response.status == 501
    assert response.getheader("Access-Control-Allow-Origin") is None
    connection.close()


def test_json_with_a_charset_is_json(leader):
    assert leader.post("/v1/snapshot", {}, {"Content-Type": "application/json; charset=utf-8"})[0] == 200


def test_paths_and_methods(leader):
    for method, path, wanted in [
        ("GET", "/v1/secrets", (404, "not_found")),
        ("POST", "/v1/secrets", (404, "not_found")),
        ("POST", "/v1/cluster", (405, "method_not_allowed")),
        ("GET", "/v1/snapshot", (405, "method_not_allowed")),
        ("POST", "/status", (405, "method_not_allowed")),
    ]:
        status, answer, _ = leader.fetch(method, path, b"{}" if method == "POST" else None)
        assert (status, answer["error"]["code"]) == wanted, (method, path)


def test_an_endpoint_without_a_control_only_tells():
    with AdminServer(NoReport(), "127.0.0.1", 0) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/v1/members")
        assert connection.getresponse().status == 404
        connection.close()


def test_an_engine_that_cannot_change_says_so(endpoints):
    class Fixed:
        member_id, leader = 1, 1
        configuration = FakeMembers().configuration

    endpoint = endpoints(Fixed())
    assert endpoint.fetch("GET", "/v1/members")[0] == 200
    status, answer, _ = endpoint.post("/v1/members", {"change": "remove", "id": 2})
    assert (status, answer["error"]["code"]) == (501, "unsupported")


@pytest.mark.parametrize("length", ["65537", "99999999999999999999", "-1", "1e3", "", None])
def test_a_body_of_no_sensible_length_is_refused_before_it_is_read(leader, length):
    with socket.create_connection(("127.0.0.1", leader.server.port), timeout=10) as stranger:
        header = b"" if length is None else b"Content-Length: %s\r\n" % length.encode()
        stranger.sendall(b"POST /v1/members HTTP/1.0\r\nContent-Type: application/json\r\n" + header + b"\r\n")
        answer = stranger.makefile("rb").read()
    assert b" 413 " in answer[:20] or b" 411 " in answer[:20]
    assert leader.engine.asked == []


def test_a_chunked_body_is_refused(leader):
    with socket.create_connection(("127.0.0.1", leader.server.port), timeout=10) as stranger:
        stranger.sendall(b"POST /v1/snapshot HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        assert b" 411 " in stranger.makefile("rb").read()[:20]


def test_operations_are_bounded_and_status_is_never_kept_waiting(leader):
    leader.engine.gate.clear()
    slow = [
        threading.Thread(target=leader.post, args=("/v1/snapshot", {"timeout_s": 30}))
        for _ in range(control_module.AT_A_TIME)
    ]
    for one in slow:
        one.start()
    deadline = time.monotonic() + 20
    while len(leader.engine.asked) < len(slow) and time.monotonic() < deadline:
        time.sleep(0.01)
    status, answer, _ = leader.post("/v1/snapshot", {})
    assert (status, answer["error"]["code"]) == (503, "overloaded")
    assert leader.fetch("GET", "/status")[0] == 200
    leader.engine.gate.set()
    for one in slow:
        one.join(20)
    assert leader.post("/v1/snapshot", {})[0] == 200


# ---------------------------------------------------------------------------------------------------------------- token


def test_a_token_is_wanted_where_there_is_one(endpoints):
    guarded = endpoints(token=TOKEN)
    for headers in ({}, {"Authorization": TOKEN}, {"Authorization": "Bearer"}, {"Authorization": f"Bearer {TOKEN}x"}):
        for method, path in (("GET", "/v1/members"), ("POST", "/v1/snapshot")):
            status, answer, found = guarded.fetch(method, path, b"{}" if method == "POST" else None, JSON | headers)
            assert (status, answer["error"]["code"]) == (401, "unauthorized")
            assert found["WWW-Authenticate"] == "Bearer"
    assert guarded.engine.asked == []
    assert guarded.fetch("GET", "/health")[0] == 200
    assert guarded.post("/v1/snapshot", {}, {**JSON, "Authorization": f"bearer {TOKEN}"})[0] == 200
    assert AdminClient([guarded.address], token=TOKEN).get("/v1/members")["leader"] == 1
    with pytest.raises(Unauthorized):
        AdminClient([guarded.address]).get("/v1/members")


@pytest.mark.parametrize(
    "token", ["", "short", "with a blank in the middle", "line\nbreak-line-break", "ünïcödé-is-no-header"]
)
def test_a_token_that_guards_nothing_is_refused(token):
    with pytest.raises(InvalidArgument) as caught:
        AdminServer(NoReport(), "127.0.0.1", 0, token=token)
    assert caught.value.details["field"] == "admin_token"


def test_strangers_are_let_in_only_by_an_explicit_word():
    with pytest.raises(InvalidArgument) as caught:
        AdminServer(NoReport(), "0.0.0.0", 0)
    assert caught.value.details["field"] == "insecure"
    AdminServer(NoReport(), "0.0.0.0", 0, insecure=True).close()
    AdminServer(NoReport(), "localhost", 0).close()


# ----------------------------------------------------------------------------------------------- the way to the leader


def test_a_follower_names_the_leader(endpoints):
    follower = endpoints(FakeMembers(2, leader=1))
    status, answer, _ = follower.post("/v1/members", {"change": "remove", "id": 3})
    assert (status, answer["error"]["code"]) == (421, "not_leader")
    assert answer["error"]["details"]["leader"] == 1
    assert "admin" not in answer["error"]["details"]
    with pytest.raises(NotLeader) as caught:
        AdminClient([follower.address]).post("/v1/members", {"change": "remove", "id": 3}, timeout=0.5)
    assert caught.value.leader == 1


def test_a_follower_leads_to_the_leader_where_it_knows_the_way(endpoints):
    leader = endpoints()
    follower = endpoints(FakeMembers(2, leader=1), admins={1: leader.address})
    status, answer, headers = follower.post("/v1/members", {"change": "remove", "id": 3})
    assert status == 307
    assert headers["Location"] == f"http://{leader.address}/v1/members"
    assert answer["error"]["details"]["admin"] == leader.address
    made = AdminClient([follower.address]).post("/v1/members", {"change": "remove", "id": 3})
    assert made["voters"] == [1, 2]
    assert [one[0] for one in leader.engine.asked] == ["change"]


def test_a_client_follows_one_hint_and_no_more(endpoints):
    other = endpoints(FakeMembers(2, leader=3))
    one = endpoints(FakeMembers(1, leader=2), admins={2: other.address})
    with pytest.raises(NotLeader):
        AdminClient([one.address]).post("/v1/transfer-leader", timeout=0.3)


def test_a_snapshot_is_taken_where_it_was_asked_for(endpoints):
    follower = endpoints(FakeMembers(2, leader=1))
    assert AdminClient([follower.address]).post("/v1/snapshot") == {"member": 2, "index": 4711}


def test_a_client_asks_the_next_where_nobody_listens(endpoints):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = f"127.0.0.1:{gone.getsockname()[1]}"
    leader = endpoints()
    assert AdminClient([nobody, leader.address]).post("/v1/transfer-leader", {"target": 3}) == {"leader": 3}
    with pytest.raises(ConnectionError, match=nobody):
        AdminClient([nobody]).post("/v1/transfer-leader", timeout=1)


def test_a_refusal_that_may_pass_is_repeated(endpoints):
    leader = endpoints()
    leader.engine.refusals = [ChangeInProgress("wait"), LearnerBehind("slow", id=3)]
    made = AdminClient([leader.address]).post("/v1/members", {"change": "remove", "id": 3})
    assert made["voters"] == [1, 2]
    assert len(leader.engine.asked) == 3


def test_a_refusal_that_stays_is_told_in_the_end(endpoints):
    leader = endpoints()
    leader.engine.refusals = [ChangeInProgress("wait")] * 1000
    with pytest.raises(ChangeInProgress):
        AdminClient([leader.address]).post("/v1/members", {"change": "remove", "id": 3}, timeout=0.5)


def test_a_refusal_for_good_is_not_repeated(leader):
    with pytest.raises(UnknownMember) as caught:
        AdminClient([leader.address]).post("/v1/members", {"change": "remove", "id": 9})
    assert caught.value.id == 9
    assert len(leader.engine.asked) == 1


def test_what_may_have_happened_is_not_repeated(monkeypatch):
    monkeypatch.setattr(client_module, "SLACK_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(OutcomeUnknown):
            AdminClient([address, address]).post("/v1/members", {"change": "remove", "id": 3}, timeout=0.2)
        silent.settimeout(5)
        silent.accept()[0].close()
        silent.settimeout(0.1)
        with pytest.raises(TimeoutError):
            silent.accept()


def test_another_web_server_is_no_member():
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        address = f"127.0.0.1:{stranger.getsockname()[1]}"

        def answer():
            connection, _ = stranger.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ProtocolError):
            AdminClient([address]).get("/v1/members")
        thread.join(5)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 500\r\n\r\n{",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.0 2",
        b'HTTP/1.0 500 Oops\r\nContent-Length: 27\r\n\r\n{"error": {"code": "error"}}',
    ],
    ids=["cut", "list", "head", "defect"],
)
def test_an_answer_that_does_not_tell_leaves_the_outcome_of_a_change_unknown(answer):
    """The member may have made the change before it ended, or failed, in the middle of its answer."""
    with socket.create_server(("127.0.0.1", 0)) as member:
        address = f"127.0.0.1:{member.getsockname()[1]}"

        def ends_early():
            connection, _ = member.accept()
            while b"}" not in connection.recv(4096):
                pass
            connection.sendall(answer)
            connection.close()

        thread = threading.Thread(target=ends_early)
        thread.start()
        with pytest.raises(OutcomeUnknown):
            AdminClient([address]).post("/v1/members", {"change": "remove", "id": 3}, timeout=0.5)
        thread.join(5)
