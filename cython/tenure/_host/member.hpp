// Memory of a member's gauges; the logic is in member.pyx.
#pragma once
#include <atomic>
#include <cstdint>
#include <new>

namespace tenure {

struct alignas(64) MemberGauges {
    std::atomic<uint64_t> term, leader, transferee, commit, applied, last_index, first_index;
    std::atomic<uint64_t> proposals, applied_entries, reads, elections;
    std::atomic<uint64_t> lapses_deadline, lapses_withdrawn, rate_alarms;
    std::atomic<uint64_t> state_hash, state_hash_index;
    std::atomic<uint64_t> snapshots, snapshots_failed, snapshots_damaged, snapshots_installed, snapshots_resumed, snapshot_received_bytes;
    std::atomic<uint64_t> snapshot_index, snapshot_bytes, snapshot_ns;
    std::atomic<uint64_t> hashes_compared, diverged_index, diverged_hash, leader_hash;
    std::atomic<int32_t> role, failed;
};

inline MemberGauges* gauges_new() noexcept { return new (std::nothrow) MemberGauges{}; }
inline void gauges_free(MemberGauges* gauges) noexcept { delete gauges; }

}  // namespace tenure
