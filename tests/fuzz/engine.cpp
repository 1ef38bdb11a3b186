// What stands between libFuzzer and a target of `tenure._fuzz`: the input goes in, the invariant that did not hold comes out
// as an abort with its text, and the memory that the target held meanwhile is counted. Loaded before everything else, so
// that the instrumented modules find libFuzzer's side of the instrumentation here. One target a process.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" {
int LLVMFuzzerRunDriver(int* argc, char*** argv, int (*run)(const uint8_t* data, size_t size));
size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t limit);
size_t __sanitizer_get_allocated_size(const volatile void* memory);
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, size_t),
                                              void (*on_free)(const volatile void*));
}

namespace {

using Target = const char* (*)(const char* data, size_t size, uint64_t* accepted);
using Resealer = size_t (*)(char* data, size_t size, size_t limit, uint32_t seed);

constexpr size_t WINDOW_BYTES = 32;

Target target;
Resealer reseal;
uint64_t bytes_per_byte;
uint64_t base_bytes;

// Only of the thread that runs the target, and only while it does.
thread_local bool counting;
int64_t held_bytes;
int64_t most_bytes;

void on_malloc(const volatile void*, size_t size) {
    if (!counting) return;
    held_bytes += static_cast<int64_t>(size);
    if (held_bytes > most_bytes) most_bytes = held_bytes;
}

void on_free(const volatile void* memory) {
    if (counting && memory != nullptr) held_bytes -= static_cast<int64_t>(__sanitizer_get_allocated_size(memory));
}

[[noreturn]] void fail(const char* what, long long bytes, size_t size) {
    std::fprintf(stderr, "INVARIANT VIOLATED: %s", what);
    if (bytes >= 0) std::fprintf(stderr, " (%lld bytes for an input of %zu)", bytes, size);
    std::fputc('\n', stderr);
    std::abort();
}

int run(const uint8_t* data, size_t size) {
    uint64_t accepted = 0;
    held_bytes = most_bytes = 0;
    counting = true;
    const char* verdict = target(reinterpret_cast<const char*>(data), size, &accepted);
    counting = false;
    if (verdict != nullptr) fail(verdict, -1, size);
    if (held_bytes != 0) fail("memory was not given back", held_bytes > 0 ? held_bytes : -held_bytes, size);
    if (static_cast<uint64_t>(most_bytes) > bytes_per_byte * size + base_bytes) fail("too much memory was held", most_bytes, size);
    return 0;
}

}  // namespace

extern "C" {

// libFuzzer calls this for every input it makes. Where checksums matter, half of the changes stay inside a small window,
// so that lengths and places mostly stay what they are, and nearly all inputs are resealed.
__attribute__((visibility("default"))) size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t limit,
                                                                      unsigned int seed) {
    if (reseal == nullptr) return LLVMFuzzerMutate(data, size, limit);
    if (seed % 2 == 0 && size > WINDOW_BYTES) {
        uint8_t window[WINDOW_BYTES];
        uint8_t* place = data + (seed / 2) % (size - WINDOW_BYTES);
        std::memcpy(window, place, WINDOW_BYTES);
        std::memcpy(place, window, LLVMFuzzerMutate(window, WINDOW_BYTES, WINDOW_BYTES));
    } else {
        size = LLVMFuzzerMutate(data, size, limit);
    }
    return seed % 16 == 15 ? size : reseal(reinterpret_cast<char*>(data), size, limit, seed);
}

// Runs libFuzzer with these arguments; it ends the process when it is done.
__attribute__((visibility("default"))) int tenure_fuzz(int argc, char** argv, Target run_target, Resealer reseal_input,
                                                       uint64_t per_byte, uint64_t base) {
    target = run_target;
    reseal = reseal_input;
    bytes_per_byte = per_byte;
    base_bytes = base;
    uint64_t accepted = 0;
    run_target("", 0, &accepted);  // what the code under test keeps for good it may take now
    __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
    return LLVMFuzzerRunDriver(&argc, &argv, run);
}
}
