"""Changes of membership as bytes: the payload of an entry of kind ENTRY_CONF_CHANGE or ENTRY_CONF_CHANGE_V2."""

from tenure._core.blob cimport Blob
from tenure._raft.types cimport ConfChange, Entry

# A Code: OK, or ERR_BAD_CHANGE when it is malformed by itself, whatever the configuration.
cdef int conf_change_check(const ConfChange* change) noexcept nogil
# Null for a change without changes, and without memory: then the code says ERR_MEMORY. The change must be well-formed.
cdef Blob* conf_change_encode(const ConfChange* change, int* code) noexcept nogil
# A Code. Contexts point into the entry's payload and live as long as it does.
cdef int conf_change_decode(const Entry* entry, ConfChange* into) noexcept nogil
