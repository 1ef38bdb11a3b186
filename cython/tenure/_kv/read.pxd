"""Reading a store: any thread, beside the one that applies.

A reader takes its fence, then `store_instant`, then looks. A value that it is shown was in the store after the fence; a key
that it is not shown will never be seen again by anybody before it is written anew. `read.pyx` says why.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from tenure._kv.codec cimport Slice
from tenure._kv.store cimport Store, StoreCode

cdef enum ReadBasis:
    # What stands behind a read.
    READ_LED = 0            # this member led when the read began: it held the lease, or a quorum said so to it
    READ_CONFIRMED = 1      # a quorum confirmed the state, and another member may lead
    READ_SETTLED = 2        # a command that was proposed after the read began is applied here

cdef struct Instant:
    int64_t judged_ms       # a key that ends at it or before has ended
    int64_t open_ms         # of a key that ends behind `judged_ms`, but not behind this, nobody can say yet
    int64_t now_ms          # for what is left of a life

# After the fence. `wall_ms` is this machine's clock.
cdef Instant store_instant(Store* store, ReadBasis basis, int64_t wall_ms) noexcept nogil
# The instant for a look that must come to an answer: as `judged_ms` of READ_LED.
cdef int64_t store_read_ms(Store* store, int64_t wall_ms) noexcept nogil

# The callback runs under the shard's lock: it copies and returns, it must not wait, nor touch the store.
ctypedef void (*Found)(void* context, const char* value, uint32_t size, int64_t expires_ms) noexcept nogil
# STORE_FOUND after the callback ran; else STORE_ABSENT, STORE_UNDECIDED or STORE_FAILED.
cdef StoreCode store_look(
    Store* store, const char* key, uint32_t key_size, const Instant* instant, Found found, void* context) noexcept nogil
# Many keys of one instant, which moves on to that of the last entry in the store: contexts[i] is the callback's context of key
# i, codes[i] says what became of it. STORE_UNDECIDED when that is so of any, STORE_FAILED, else STORE_FOUND.
cdef StoreCode store_look_many(
    Store* store, const Slice* keys, uint32_t count, Instant* instant, Found found, void** contexts, StoreCode* codes
) noexcept nogil
# The same with an instant of one's own and no doubts.
cdef StoreCode store_get(
    Store* store, const char* key, uint32_t key_size, int64_t now_ms, Found found, void* context) noexcept nogil
# Copies the value into `buffer`; `size` is the value's in any case but STORE_ABSENT, STORE_UNDECIDED and STORE_FAILED.
cdef StoreCode store_copy(
    Store* store, const char* key, uint32_t key_size, const Instant* instant, char* buffer, uint32_t capacity,
    uint32_t* size, int64_t* expires_ms) noexcept nogil

# Keys that have expired at `now_ms`, for a command that collects them: looks at buckets from `cursor` (0 at the start) on,
# until `limit` keys are found (or a few more) or `steps` buckets were seen. The new cursor; 0 at the end.
cdef uint64_t store_find_expired(
    Store* store, uint64_t cursor, int64_t now_ms, uint32_t limit, uint32_t steps, Found found, void* context
) noexcept nogil
cdef uint64_t store_size(Store* store) noexcept nogil             # keys held, expired ones until they are removed
cdef uint64_t store_expiring(Store* store) noexcept nogil         # those of them that end
cdef uint64_t store_last_commit_ts(Store* store) noexcept nogil
cdef uint64_t store_ceiling_ts(Store* store) noexcept nogil
cdef uint64_t store_state_hash(Store* store) noexcept nogil
cdef bint store_failed(Store* store) noexcept nogil
