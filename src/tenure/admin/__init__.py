"""What operators and tools may ask a member: a small HTTP endpoint with its status, its metrics and its health."""

from tenure.admin.client import ask_status
from tenure.admin.latency import Latencies
from tenure.admin.report import MemberReport
from tenure.admin.server import AdminServer

__all__ = ["AdminServer", "Latencies", "MemberReport", "ask_status"]
