// CRC-32C (Castagnoli), the checksum of log batches and of frames. Pure functions: any thread, no state. The processor's
// own instruction does the work where it has one, which is asked at run time; the tables do it elsewhere. Seeds chain:
// crc32c(crc32c(s, a), b) is crc32c(s, a followed by b), and the seed of a checksum that stands alone is 0.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

namespace tenure {

struct Crc32cTables {
    uint32_t of[8][256];  // of[k][b]: the effect of byte b with k zero bytes behind it

    constexpr Crc32cTables() noexcept : of() {
        for (uint32_t b = 0; b < 256; b++) {
            uint32_t crc = b;
            for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
            of[0][b] = crc;
        }
        for (int k = 1; k < 8; k++)
            for (uint32_t b = 0; b < 256; b++) of[k][b] = (of[k - 1][b] >> 8) ^ of[0][of[k - 1][b] & 255];
    }
};

inline constexpr Crc32cTables CRC32C_TABLES{};

inline uint32_t crc32c_portable(uint32_t seed, const void* data, size_t size) noexcept {
    const auto& of = CRC32C_TABLES.of;
    const unsigned char* at = static_cast<const unsigned char*>(data);
    uint32_t crc = ~seed;
    for (; size >= 8; at += 8, size -= 8) {
        // byte by byte, so that the order of bytes in a word of this machine does not matter
        crc = of[7][(crc ^ at[0]) & 255] ^ of[6][((crc >> 8) ^ at[1]) & 255] ^ of[5][((crc >> 16) ^ at[2]) & 255] ^
              of[4][((crc >> 24) ^ at[3]) & 255] ^ of[3][at[4]] ^ of[2][at[5]] ^ of[1][at[6]] ^ of[0][at[7]];
    }
    for (; size != 0; at++, size--) crc = (crc >> 8) ^ of[0][(crc ^ *at) & 255];
    return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) inline uint32_t crc32c_instruction(uint32_t seed, const void* data,
                                                                     size_t size) noexcept {
    const unsigned char* at = static_cast<const unsigned char*>(data);
    uint64_t crc = ~seed;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        std::memcpy(&word, at, 8);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    uint32_t rest = static_cast<uint32_t>(crc);
    for (; size != 0; at++, size--) rest = __builtin_ia32_crc32qi(rest, *at);
    return ~rest;
}

inline bool crc32c_has_instruction() noexcept { return __builtin_cpu_supports("sse4.2") != 0; }

#elif defined(__ARM_FEATURE_CRC32)

inline uint32_t crc32c_instruction(uint32_t seed, const void* data, size_t size) noexcept {
    const unsigned char* at = static_cast<const unsigned char*>(data);
    uint32_t crc = ~seed;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        std::memcpy(&word, at, 8);
        crc = __crc32cd(crc, word);
    }
    for (; size != 0; at++, size--) crc = __crc32cb(crc, *at);
    return ~crc;
}

inline bool crc32c_has_instruction() noexcept { return true; }

#else

inline uint32_t crc32c_instruction(uint32_t seed, const void* data, size_t size) noexcept {
    return crc32c_portable(seed, data, size);
}

inline bool crc32c_has_instruction() noexcept { return false; }

#endif

inline uint32_t crc32c(uint32_t seed, const void* data, size_t size) noexcept {
    return crc32c_has_instruction() ? crc32c_instruction(seed, data, size) : crc32c_portable(seed, data, size);
}

}  // namespace tenure
