/* SIMCO (RFC 4540) as far as the programs beside this file speak it: headers, tuples of one port, and the proof of an agent. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "sha256.h"

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

static inline u8 *put16(u8 *p, u32 v) { p[0] = (u8)(v >> 8); p[1] = (u8)v; return p + 2; }
static inline u8 *put32(u8 *p, u32 v) { return put16(put16(p, v >> 16), v); }
static inline u32 get16(const u8 *p) { return (u32)(p[0] << 8 | p[1]); }
static inline u32 get32(const u8 *p) { return get16(p) << 16 | get16(p + 2); }

#define SE 0x01
#define SA 0x02
#define PER 0x12
#define PLC 0x15
#define PRS 0x21
#define PRL 0x22
#define HEADER_BYTES 8
#define UDP 17

static inline u8 *simco_header(u8 *p, u32 sub_type, u32 payload_bytes, u32 tid) {
  *p++ = 1;
  *p++ = (u8)sub_type;
  return put32(put16(p, payload_bytes), tid);
}

/* Address tuple (RFC 4540 4.3.8): one UDP port of one IPv4 address. */
static inline u8 *simco_tuple(u8 *p, u32 location, u32 address, u32 number) {
  p = put16(put16(p, 0x0009), 12);
  *p++ = 0x01;
  *p++ = 32;
  *p++ = UDP;
  *p++ = (u8)location;
  return put32(put16(put16(p, number), 1), address);
}

#define TOKEN_ALGORITHM 1
#define CHALLENGE_MAX 4096

/*
 * The answer of agent i to the challenge of the box, of CHALLENGE_MAX octets at the most, with a key that follows from its name
 * (src/control/simco): token = 1 | length of name | name | HMAC-SHA-256(key, "agent" | 0 | 0 0, as we sent no challenge | length |
 * challenge).
 */
static inline u8 *simco_proof(u8 *p, u32 tid, u32 i, const u8 *challenge, u32 bytes) {
  char name[32], key[32];
  u32 name_bytes = (u32)sprintf(name, "agent-%u", i), key_bytes = (u32)sprintf(key, "key of load agent %u", i);
  u8 text[CHALLENGE_MAX + 16];
  memcpy(text, "agent\0\0\0", 8);
  memcpy(put16(text + 8, bytes), challenge, bytes);
  p = simco_header(p, SA, 4 + 2 + name_bytes + SHA256_BYTES, tid);
  p = put16(put16(p, 0x0003), 2 + name_bytes + SHA256_BYTES);
  *p++ = TOKEN_ALGORITHM;
  *p++ = (u8)name_bytes;
  memcpy(p, name, name_bytes);
  hmac_sha256((u8 *)key, key_bytes, text, 10 + bytes, p + name_bytes);
  return p + name_bytes + SHA256_BYTES;
}

/* SE, which opens a session of version 3.0. */
static inline u8 *simco_hello(u8 *p, u32 tid) { return put32(put16(put16(simco_header(p, SE, 8, tid), 0x0001), 4), 0x03000000); }

/* PLC: the rule is over in that many seconds. */
static inline u8 *simco_lifetime(u8 *p, u32 tid, u32 rule, u32 lifetime_sec) {
  p = put32(put16(put16(simco_header(p, PLC, 16, tid), 0x0005), 4), rule);
  return put32(put16(put16(p, 0x0007), 4), lifetime_sec);
}

/* PER, any parity, bidirectional: rule n, of 16 ports of an inside host from `inside` on, each with a peer of its own. */
static inline u8 *simco_enable(u8 *p, u32 tid, u32 inside, u32 n, u32 lifetime_sec) {
  p = put32(put16(put16(simco_header(p, PER, 48, tid), 0x000b), 4), 0x00030000);
  p = simco_tuple(p, 0, inside + (n >> 4), 1024 + (n & 15) * 4001);
  p = simco_tuple(p, 3, 0x2d000000 | (n * 2654435761u >> 8), 443);
  return put32(put16(put16(p, 0x0007), 4), lifetime_sec);
}

/* The rule identifier in a reply, or 0. */
static inline u32 rule_of(const u8 *p, const u8 *end) {
  while (end - p >= 8) {
    if (get16(p) == 0x0005) return get32(p + 4);
    p += 4 + get16(p + 2);
  }
  return 0;
}
