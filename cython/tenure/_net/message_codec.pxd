"""Messages of the Raft core as bytes. Pure functions, any thread.

    offset  bytes
    0       1       type            4       4       number of entries
    1       1       reject          8       80      from, to, term, index, log_term, commit, reject_hint, round, read_id,
    2       1       has a snapshot                  release_term
    3       1       0               88      40      stamp, promise, promised, peer_clock, remaining (nanoseconds)
    128             entries: term 8, index 8, payload bytes 4, kind 1, three zeros, payload
                    snapshot: index 8, term 8, auto_leave 1, numbers of voters, outgoing, learners and learners_next 1 each,
                    three zeros, the ids in that order

Numbers are little-endian. Every message has one encoding, and nothing else decodes.
"""

from libc.stdint cimport uint64_t

from tenure._raft.types cimport Message

cdef enum CodecResult:
    CODEC_OK = 0
    CODEC_MALFORMED = 1         # no encoding of any message
    CODEC_NO_MEMORY = 2


# The exact number of bytes that message_encode writes.
cdef uint64_t message_bytes(const Message* message) noexcept nogil
cdef char* message_encode(const Message* message, char* into) noexcept nogil    # returns the end
# On CODEC_OK `into` owns its entries and its snapshot (message_release); otherwise it owns nothing.
cdef CodecResult message_decode(const char* data, size_t size, Message* into) noexcept nogil
