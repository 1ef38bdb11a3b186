// Little-endian numbers at any address: what every layout of this package is made of. Pure functions: any thread.
#pragma once
#include <endian.h>

#include <cstdint>
#include <cstring>

namespace tenure {

inline void wire_put16(char* at, uint16_t value) noexcept {
    value = htole16(value);
    std::memcpy(at, &value, sizeof(value));
}

inline void wire_put32(char* at, uint32_t value) noexcept {
    value = htole32(value);
    std::memcpy(at, &value, sizeof(value));
}

inline void wire_put64(char* at, uint64_t value) noexcept {
    value = htole64(value);
    std::memcpy(at, &value, sizeof(value));
}

inline uint16_t wire_get16(const char* at) noexcept {
    uint16_t value;
    std::memcpy(&value, at, sizeof(value));
    return le16toh(value);
}

inline uint32_t wire_get32(const char* at) noexcept {
    uint32_t value;
    std::memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

inline uint64_t wire_get64(const char* at) noexcept {
    uint64_t value;
    std::memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

}  // namespace tenure
