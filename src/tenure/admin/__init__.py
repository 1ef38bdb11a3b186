"""What operators and tools may ask a member: a small HTTP endpoint that tells how it does and carries out changes."""

from tenure.admin.client import AdminClient, ask_status
from tenure.admin.control import MemberControl
from tenure.admin.latency import Latencies
from tenure.admin.report import MemberReport
from tenure.admin.server import AdminServer

__all__ = ["AdminClient", "AdminServer", "Latencies", "MemberControl", "MemberReport", "ask_status"]
