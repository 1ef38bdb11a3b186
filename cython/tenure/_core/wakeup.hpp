// The layouts of the two wakeups of `wakeup.pyx`. Plain members of their owner, which is made by `new`; the descriptor of a
// LoopWakeup is opened by `loop_wakeup_open`, and closing one that was not is harmless.
#pragma once
#include <atomic>
#include <cstdint>

namespace tenure {

struct Wakeup {
    alignas(64) std::atomic<uint32_t> state;   // 0 = nothing to tell, 1 = told, 2 = the waiter is asleep
};

struct LoopWakeup {
    alignas(64) std::atomic<uint32_t> armed;   // 1 = the loop is about to sleep or sleeps: somebody must write
    int descriptor = -1;                       // set once by loop_wakeup_open
};

}  // namespace tenure
