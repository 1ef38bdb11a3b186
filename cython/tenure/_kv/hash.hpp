// Two uses of one function. With the process's secret seed it places keys in the table, so that nobody outside can choose
// keys that collide; with fixed keys it makes the digests of the state hash, which are equal on every member. SipHash with
// one round a word and three at the end. Pure functions; words are read little-endian on every machine.
#pragma once
#include <cstdint>
#include <cstring>

namespace tenure {

inline uint64_t sip_word(const char* bytes) noexcept {
    uint64_t word;
    std::memcpy(&word, bytes, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

inline uint64_t sip_turn(uint64_t x, int by) noexcept { return (x << by) | (x >> (64 - by)); }

struct SipState {
    uint64_t a, b, c, d;
    void round() noexcept {
        a += b; c += d;
        b = sip_turn(b, 13) ^ a; d = sip_turn(d, 16) ^ c;
        a = sip_turn(a, 32);
        c += b; a += d;
        b = sip_turn(b, 17) ^ c; d = sip_turn(d, 21) ^ a;
        c = sip_turn(c, 32);
    }
};

inline uint64_t sip_hash(uint64_t key0, uint64_t key1, const char* bytes, std::size_t size) noexcept {
    SipState s{key0 ^ 0x736f6d6570736575u, key1 ^ 0x646f72616e646f6du, key0 ^ 0x6c7967656e657261u,
               key1 ^ 0x7465646279746573u};
    const char* const end = bytes + (size & ~std::size_t{7});
    for (; bytes != end; bytes += 8) {
        const uint64_t word = sip_word(bytes);
        s.d ^= word;
        s.round();
        s.a ^= word;
    }
    uint64_t last = static_cast<uint64_t>(size) << 56;
    for (std::size_t i = 0; i < (size & 7); i++)
        last |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    s.d ^= last;
    s.round();
    s.a ^= last;
    s.c ^= 0xff;
    s.round();
    s.round();
    s.round();
    return s.a ^ s.b ^ s.c ^ s.d;
}

// The digest of one live key: value and expiry keyed by the digest of the key, so no field can pass for another.
inline uint64_t digest_of(const char* key, uint32_t key_size, const char* value, uint32_t value_size,
                          int64_t expires_ms) noexcept {
    const uint64_t of_key = sip_hash(0x74656e7572652e6bu, 0x762e64696765737au, key, key_size);
    return sip_hash(of_key, static_cast<uint64_t>(expires_ms), value, value_size);
}

inline uint64_t hash_mix(uint64_t sum, uint64_t word) noexcept {
    uint64_t x = sum ^ (word + 0x9e3779b97f4a7c15u + (sum << 6) + (sum >> 2));
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

}  // namespace tenure
