/* HMAC-SHA-256 (FIPS 180-4, RFC 2104) of short texts, for one proof a connection. */
#include <stdint.h>
#include <string.h>

#define SHA256_BYTES 32
#define SHA256_BLOCK 64
/* The longest text with its key block in front. */
#define SHA256_TEXT_MAX 8192

static const uint32_t SHA256_K[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
  0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
  0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
  0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
  0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
  0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t sha256_turn(uint32_t v, int bits) { return v >> bits | v << (32 - bits); }

static inline void sha256_block(uint32_t *state, const uint8_t *p) {
  uint32_t w[64], s[8];
  for (int i = 0; i < 16; i++) {
    w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
  }
  for (int i = 16; i < 64; i++) {
    uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (sha256_turn(a, 7) ^ sha256_turn(a, 18) ^ a >> 3) + w[i - 7]
      + (sha256_turn(b, 17) ^ sha256_turn(b, 19) ^ b >> 10);
  }
  memcpy(s, state, sizeof s);
  for (int i = 0; i < 64; i++) {
    uint32_t a = s[0], e = s[4];
    uint32_t one = s[7] + (sha256_turn(e, 6) ^ sha256_turn(e, 11) ^ sha256_turn(e, 25)) + ((e & s[5]) ^ (~e & s[6]))
      + SHA256_K[i] + w[i];
    uint32_t two = (sha256_turn(a, 2) ^ sha256_turn(a, 13) ^ sha256_turn(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof *s);
    s[4] += one;
    s[0] = one + two;
  }
  for (int i = 0; i < 8; i++) state[i] += s[i];
}

static inline void sha256(const uint8_t *text, size_t bytes, uint8_t *out) {
  uint32_t state[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
  };
  uint8_t last[2 * SHA256_BLOCK] = { 0 };
  size_t whole = bytes / SHA256_BLOCK * SHA256_BLOCK, rest = bytes - whole;
  for (size_t at = 0; at < whole; at += SHA256_BLOCK) sha256_block(state, text + at);
  memcpy(last, text + whole, rest);
  last[rest] = 0x80;
  size_t end = rest + 9 > SHA256_BLOCK ? 2 * SHA256_BLOCK : SHA256_BLOCK;
  for (int i = 0; i < 8; i++) last[end - 1 - (size_t)i] = (uint8_t)((uint64_t)bytes * 8 >> (8 * i));
  for (size_t at = 0; at < end; at += SHA256_BLOCK) sha256_block(state, last + at);
  for (int i = 0; i < SHA256_BYTES; i++) out[i] = (uint8_t)(state[i / 4] >> (24 - i % 4 * 8));
}

/* A key of at most a block, a text of at most SHA256_TEXT_MAX - SHA256_BLOCK. */
static inline void hmac_sha256(const uint8_t *key, size_t key_bytes, const uint8_t *text, size_t bytes, uint8_t *out) {
  uint8_t inner[SHA256_TEXT_MAX] = { 0 }, outer[SHA256_BLOCK + SHA256_BYTES] = { 0 };
  memcpy(inner, key, key_bytes);
  memcpy(outer, key, key_bytes);
  for (int i = 0; i < SHA256_BLOCK; i++) {
    inner[i] ^= 0x36;
    outer[i] ^= 0x5c;
  }
  memcpy(inner + SHA256_BLOCK, text, bytes);
  sha256(inner, SHA256_BLOCK + bytes, outer + SHA256_BLOCK);
  sha256(outer, sizeof outer, out);
}
