"""The Redis front end's part of the Python edge. With the GIL."""

from tenure._host.redis_types cimport Front, FrontConfig

# The settings whose names begin with `redis_`, but for the address and the password.
cdef int set_front_options(FrontConfig* front, dict options) except -1
cdef dict front_totals(const Front* f)                  # counts by name
cdef list front_loads(const Front* f)                   # of each thread
