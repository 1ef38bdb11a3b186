// Guard switches of the proof build. In production a guard is a constant and costs nothing; compiled with TENURE_PROOF it
// can be switched off per member, so that the simulator can show what its absence breaks.
#pragma once
#include <cstdint>

#ifdef TENURE_PROOF
#define TENURE_GUARD(guards_off, guard) ((((guards_off) >> (guard)) & 1) == 0)
#define TENURE_PROOF_BUILD 1
#else
#define TENURE_GUARD(guards_off, guard) ((void)(guards_off), true)
#define TENURE_PROOF_BUILD 0
#endif
