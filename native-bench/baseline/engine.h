/*
 * The NAT of docs/behaviour.md for whole IPv4 packets of UDP, TCP and ICMP queries, as fast as plain C gets: the yardstick
 * for src/engine. Whatever lies outside that (IPv6, fragments, ICMP errors, hairpinning, other protocols) is dropped as
 * `unsupported`, and the box originates no ICMP errors of its own.
 *
 * Packets pass in three stages, a few dozen at a time, so that cache misses overlap: parse and hash, look into the index,
 * then decide and rewrite one after another. Only the third stage reads or writes state; what the second one found is a
 * guess that the third checks against the key. So the result does not depend on how packets are cut into batches.
 *
 * Addresses, ports and checksums stay in the byte order of the packet (little-endian loads): keys are compared as they are,
 * and one's complement sums do not care (RFC 1071 2.B).
 */
#ifndef NATBASE_ENGINE_H
#define NATBASE_ENGINE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "a little-endian machine is needed"
#endif

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define INLINE static inline __attribute__((always_inline))

INLINE u16 ld16(const u8 *p) { u16 v; memcpy(&v, p, 2); return v; }
INLINE u32 ld32(const u8 *p) { u32 v; memcpy(&v, p, 4); return v; }
INLINE u64 ld64(const u8 *p) { u64 v; memcpy(&v, p, 8); return v; }
INLINE void st16(u8 *p, u16 v) { memcpy(p, &v, 2); }
INLINE void st32(u8 *p, u32 v) { memcpy(p, &v, 4); }
INLINE u16 be16(const u8 *p) { return __builtin_bswap16(ld16(p)); }

/* Drop reasons: the names of src/channel/reasons.ts that can occur here, and one of our own. */
#define REASONS(X) \
  X(LINK_UNSUPPORTED, "link-unsupported") X(LINK_TRUNCATED, "link-truncated") X(NOT_IP, "not-ip") X(ARP, "arp") \
  X(IP_TRUNCATED, "ip-truncated") X(IP_BAD_VERSION, "ip-bad-version") X(BAD_HEADER_LENGTH, "ipv4-bad-header-length") \
  X(IP_BAD_LENGTH, "ip-bad-length") X(BAD_CHECKSUM, "ipv4-bad-checksum") X(BAD_OPTIONS, "ipv4-bad-options") \
  X(SOURCE_ROUTE, "ipv4-source-route") X(MARTIAN_SOURCE, "martian-source") X(LAND, "land") \
  X(MARTIAN_DESTINATION, "martian-destination") X(MULTICAST, "multicast") X(LINK_LOCAL, "link-local") \
  X(TTL_EXCEEDED, "ttl-exceeded") X(TRANSPORT_TRUNCATED, "transport-truncated") \
  X(TRANSPORT_BAD_LENGTH, "transport-bad-length") X(TCP_NULL, "tcp-null") X(TCP_XMAS, "tcp-xmas") X(TCP_SYN_FIN, "tcp-syn-fin") \
  X(TCP_SYN_RST, "tcp-syn-rst") X(TCP_FIN_RST, "tcp-fin-rst") X(TCP_FIN_WITHOUT_ACK, "tcp-fin-without-ack") \
  X(INSIDE_TO_INSIDE, "inside-to-inside") \
  X(OUTSIDE_TO_OUTSIDE, "outside-to-outside") X(NO_MAPPING, "no-mapping") X(FILTERED, "filtered") \
  X(NO_STATE, "no-state") X(TCP_MIDSTREAM, "tcp-midstream") X(NO_OUTSIDE_PORT, "no-outside-port") \
  X(ICMP_NOT_FORWARDED, "icmp-not-forwarded") X(UNSUPPORTED, "unsupported")

enum {
#define X(id, text) R_##id,
  REASONS(X)
#undef X
  REASON_COUNT
};
static const char *const REASON_NAMES[REASON_COUNT] = {
#define X(id, text) text,
  REASONS(X)
#undef X
};

enum { OUT = 0, IN = 1 };                       /* direction: from inside, from outside */
enum { DROP = 0, TO_INSIDE = 1, TO_OUTSIDE = 2 };
enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17 };
enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32 };

/* ------------------------------------------------------------------------------------------------ tables, in memory -- */

static int huge_pages = 0;

/* Zeroed, page-aligned, and backed by memory only where it is touched. */
static void *table_alloc(size_t bytes) {
  size_t huge = (size_t)2 << 20, take = huge_pages ? ((bytes + huge - 1) & ~(huge - 1)) + huge : bytes;
  u8 *p = mmap(NULL, take, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    fprintf(stderr, "natbase: no memory for a table of %zu bytes\n", bytes);
    exit(1);
  }
  if (huge_pages) {
    p = (u8 *)(((uintptr_t)p + huge - 1) & ~(huge - 1));
    madvise(p, take - huge, MADV_HUGEPAGE);
  }
  return p;
}

/*
 * An index from hashes to slots. A bucket is a cache line: 15 entries, and a count of the entries that found it full and went
 * on to a later bucket, so that looking up stops where nobody went on and deleting needs neither tombstones nor moves.
 * An entry is the slot with hash bits above it; 0 is empty.
 */
#define LANES 16
#define ENTRIES 15
#define OVERFLOW 15

typedef struct {
  u32 *lines;
  u32 buckets;
  u32 slot_mask;
} Index;

static void index_create(Index *x, u64 entries, double load, u32 slot_mask) {
  u64 buckets = (u64)((double)entries / (load * ENTRIES)) + 2;
  x->lines = table_alloc(buckets * LANES * 4);
  x->buckets = (u32)buckets;
  x->slot_mask = slot_mask;
}

INLINE u32 bucket_of(const Index *x, u64 hash) { return (u32)(((hash >> 32) * x->buckets) >> 32); }
INLINE u32 *line_of(const Index *x, u64 hash) { return x->lines + (size_t)bucket_of(x, hash) * LANES; }

/* Never 0, so that an empty entry never agrees. */
INLINE u32 tag_of(const Index *x, u64 hash) {
  u32 tag = (u32)hash & ~x->slot_mask;
  return tag ? tag : x->slot_mask + 1;
}

/* A bit for each entry of the line whose tag agrees. */
INLINE u32 line_match(const u32 *line, u32 tag, u32 tag_mask) {
#if defined(__AVX512F__)
  __m512i v = _mm512_and_si512(_mm512_load_si512(line), _mm512_set1_epi32((int)tag_mask));
  return _mm512_cmpeq_epi32_mask(v, _mm512_set1_epi32((int)tag)) & 0x7fff;
#elif defined(__AVX2__)
  __m256i m = _mm256_set1_epi32((int)tag_mask), t = _mm256_set1_epi32((int)tag);
  __m256i a = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_load_si256((const __m256i *)line), m), t);
  __m256i b = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_load_si256((const __m256i *)line + 1), m), t);
  u32 lo = (u32)_mm256_movemask_ps(_mm256_castsi256_ps(a)), hi = (u32)_mm256_movemask_ps(_mm256_castsi256_ps(b));
  return (lo | hi << 8) & 0x7fff;
#else
  u32 found = 0;
  for (int i = 0; i < ENTRIES; i++) found |= (u32)((line[i] & tag_mask) == tag) << i;
  return found;
#endif
}

static void index_insert(Index *x, u64 hash, u32 slot) {
  u32 bucket = bucket_of(x, hash);
  for (;;) {
    u32 *line = x->lines + (size_t)bucket * LANES;
    u32 empty = line_match(line, 0, ~0u);
    if (likely(empty)) {
      line[__builtin_ctz(empty)] = tag_of(x, hash) | slot;
      return;
    }
    line[OVERFLOW]++;
    if (++bucket == x->buckets) bucket = 0;
  }
}

/* The entry of `slot`, which is there. `leave`: it is about to be deleted, so the buckets before it are passed once less. */
static u32 *index_entry(Index *x, u64 hash, u32 slot, int leave) {
  u32 bucket = bucket_of(x, hash), entry = tag_of(x, hash) | slot;
  for (;;) {
    u32 *line = x->lines + (size_t)bucket * LANES;
    u32 found = line_match(line, entry, ~0u);
    if (likely(found)) return line + __builtin_ctz(found);
    line[OVERFLOW] -= (u32)leave;
    if (++bucket == x->buckets) bucket = 0;
  }
}

static void index_delete(Index *x, u64 hash, u32 slot) { *index_entry(x, hash, slot, 1) = 0; }

static void index_replace(Index *x, u64 hash, u32 slot, u32 by) { *index_entry(x, hash, slot, 0) = tag_of(x, hash) | by; }

/* --------------------------------------------------------------------------------------------------------- records -- */

/*
 * A flow, in one cache line. Both keys are kept as its packets carry them: addresses are source, then destination, in
 * memory order; so are ports. The key of one direction holds what the other direction must write.
 */
typedef struct {
  u64 addrs[2];                 /* [OUT] inside, peer   [IN] peer, outside */
  u32 ports[2];                 /* likewise */
  u8 proto;                     /* 0: the slot is free */
  u8 state;
  u8 flags;
  u8 unused;
  u16 delta_ip, delta_l4;       /* checksum deltas of the way out; their complements serve the way in */
  u32 deadline;
  u32 fire_at;                  /* when the wheel will look at it: at the deadline or before */
  u32 wheel_next;
  i32 wheel_prev;               /* > 0: slot before; < 0: first of bucket -prev - 1 */
  u32 ring_next, ring_prev;     /* flows of the same mapping; `ring_next` links free slots */
  u32 peer_next, peer_prev;     /* of these the ones to the same peer address */
} __attribute__((aligned(64))) Flow;

_Static_assert(sizeof(Flow) == 64, "a flow is a cache line");

/* One flow of a mapping stands for it in the index of mappings, one of each of its peers for that peer. */
enum { MAPPING_HEAD = 1, PEER_HEAD = 2 };

enum { S_NONE, S_UDP, S_ICMP, S_SYN_OUT, S_SYN_IN, S_MID_OUT, S_MID_IN, S_ESTABLISHED, S_FIN_OUT, S_FIN_IN, S_FIN_BOTH,
  S_RESET, STATES = 16 };
/* In an entry of the table of states: the packet sets no deadline, or none that is later than the one there is. */
#define KEEP_DEADLINE 0x80
#define NOT_LATER 0x40

typedef struct {
  u64 used[1024];               /* a bit for each port */
  u64 full[2][16];              /* by parity, a bit for each word: all its ports of that parity are used */
} PortSet;

#define POOL_MAX 1024
#define PREFIX_MAX 256
#define STAGE 32
#define BATCH_MAX 4096
#define BYTES_PAST_FRAME 64     /* readable bytes that every frame must have behind it */

typedef struct {
  u32 flows;
  u32 seed;
  u32 pool_first, pool_size;    /* host order */
  u32 prefixes, prefix_value[PREFIX_MAX], prefix_mask[PREFIX_MAX];
} Options;

/* A frame as a device hands it over, at least BYTES_PAST_FRAME readable bytes before the end of its memory. */
typedef struct {
  u8 *data;
  u64 ns;                       /* time stamp */
  u32 cap, wire;                /* bytes present, and bytes there were */
  u32 net_end;                  /* out: where the network packet ends, from the start of the frame */
  u16 link;
  u8 verdict;                   /* out */
} Frame;

/* What the first stage knows of a packet. */
typedef struct {
  u64 addrs, hash;
  u8 *ip;
  u32 ports;
  u32 bucket;
  u32 guess;
  u32 net_end;
  u8 l4;                        /* of the transport header, from `ip` on */
  u8 proto, dir, flags, reason, world;
  u8 port_at, sum_at;           /* what to rewrite, from the transport header on */
} Packet;

#define PASSED 0xff             /* in Packet.reason: not dropped so far */

typedef struct {
  Flow *flows;
  Index index;                  /* both keys of every flow */
  Index mappings;               /* inside endpoints, and (outside endpoint, peer address) pairs */
  PortSet *ports;               /* by pool address and class */
  u32 capacity, fresh, freed, hand;

  u32 pool_first, pool_size;
  u32 seed;
  u64 salt[2];
  i32 prng;

  u32 prefixes, prefix_value[PREFIX_MAX], prefix_mask[PREFIX_MAX];

  u32 timeout[STATES];
  u8 next[STATES][2][32];       /* by state, direction and the low five flags */
  u32 bad_flags;                /* bit n: the low five flags n are impossible */

  int started;
  u64 first_ns;
  u64 tick_ns;                  /* the stamp at which the next millisecond begins */
  u64 ms;                       /* latest time seen */
  u64 next_event;               /* nothing in the wheel is due before */
  u32 now;                      /* `ms` as the contract counts: modulo 2^32 */
  u32 heads[4 * 256];
  u64 occupied[4 * 4];

  u64 in_packets, in_bytes, sent[2], sent_bytes[2], drops[REASON_COUNT];
  u64 opened, expired, evicted, current, peak, mappings_opened, mappings_closed;
  u64 table_bytes;

  u8 block_class[65536];        /* of an address by its upper half */
} Engine;

/* ---------------------------------------------------------------------------------------------------------- hashes -- */

INLINE u64 mix64(u64 a, u64 b) {
  __uint128_t m = (__uint128_t)a * b;
  return (u64)m ^ (u64)(m >> 64);
}

INLINE u64 flow_hash(const Engine *e, u64 addrs, u32 ports, u32 proto, u32 dir) {
  return mix64(addrs ^ e->salt[0], ((u64)proto << 40 | (u64)dir << 32 | ports) ^ e->salt[1]);
}

/* `other`: peer address of an outside endpoint, or 0 of an inside endpoint. */
INLINE u64 endpoint_hash(const Engine *e, u32 addr, u32 port, u32 proto, u32 other) {
  return mix64(((u64)other << 32 | addr) ^ e->salt[1], ((u64)proto << 32 | 0x5a0000 | port) ^ e->salt[0]);
}

/* mix() of the contract. */
INLINE u32 paired_index(const Engine *e, u32 inside_be) {
  u32 h = (__builtin_bswap32(inside_be) ^ e->seed) * 0x9e3779b1u;
  h ^= h >> 15;
  h *= 0x85ebca6bu;
  h ^= h >> 13;
  return h % e->pool_size;
}

/* src/base/prng.ts */
static u32 prng_below(Engine *e, u32 bound) {
  u32 x = (u32)e->prng;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  e->prng = (i32)x;
  return ((x >> 16) * bound) >> 16;
}

/* ------------------------------------------------------------------------------------------------------- checksums -- */

INLINE u32 fold(u32 sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}
INLINE u16 delta32(u32 was, u32 becomes) {
  return (u16)fold((~was & 0xffff) + (~was >> 16) + (becomes & 0xffff) + (becomes >> 16));
}
INLINE u16 delta16(u16 was, u16 becomes) { return (u16)fold((u16)~was + (u32)becomes); }
/* RFC 1624, equation 3. */
INLINE u16 sum_apply(u16 checksum, u32 delta) { return (u16)~fold((u16)~checksum + delta); }

INLINE u32 header_sum(const u8 *ip) {
  u64 a = ld64(ip), b = ld64(ip + 8), s = a + b;
  s += s < b;
  u64 c = ld32(ip + 16);
  s += c;
  s += s < c;
  s = (s >> 32) + (s & 0xffffffff);
  s = (s >> 16) + (s & 0xffff);
  return (u32)((s >> 16) + (s & 0xffff));       /* 0xffff if right: at most 0x10001, and never 0 here */
}

/* ----------------------------------------------------------------------------------------------------------- ports -- */

enum { CLASS_UDP, CLASS_TCP, CLASS_ICMP, CLASSES };
INLINE u32 class_of(u32 proto) { return proto == PROTO_UDP ? CLASS_UDP : proto == PROTO_TCP ? CLASS_TCP : CLASS_ICMP; }

#define EVEN 0x5555555555555555ull

INLINE int port_used(const PortSet *s, u32 port) { return (int)(s->used[port >> 6] >> (port & 63) & 1); }

static void port_take(PortSet *s, u32 port) {
  u64 bits = s->used[port >> 6] |= 1ull << (port & 63), mask = EVEN << (port & 1);
  if ((bits & mask) == mask) s->full[port & 1][port >> 12] |= 1ull << (port >> 6 & 63);
}

static void port_release(PortSet *s, u32 port) {
  s->used[port >> 6] &= ~(1ull << (port & 63));
  s->full[port & 1][port >> 12] &= ~(1ull << (port >> 6 & 63));
}

/* First free port of a parity in lo … hi, or -1. */
static i32 port_first_free(const PortSet *s, i32 lo, i32 hi, u32 parity) {
  if (lo > hi) return -1;
  u64 mask = EVEN << parity;
  u32 word = (u32)lo >> 6, last = (u32)hi >> 6;
  u64 open = ~s->used[word] & mask & (~0ull << (lo & 63));
  while (open == 0) {
    if (++word > last) return -1;
    u64 words = ~s->full[parity][word >> 6] & (~0ull << (word & 63));
    while (words == 0) {
      word = ((word >> 6) + 1) << 6;
      if (word > last) return -1;
      words = ~s->full[parity][word >> 6];
    }
    word = (word & ~63u) + (u32)__builtin_ctzll(words);
    if (word > last) return -1;
    open = ~s->used[word] & mask;
  }
  i32 port = (i32)(word << 6) + __builtin_ctzll(open);
  return port <= hi ? port : -1;
}

/* Host order in and out; -1 when there is none. Takes the port. */
static i32 choose_port(Engine *e, PortSet *s, u32 class, u32 port) {
  i32 lo = 1024, hi = 65535;
  if (class == CLASS_ICMP) lo = 0;
  else if (port < 1024) lo = 1, hi = 1023;
  i32 got = (i32)port;
  if (got < lo || got > hi || port_used(s, port)) {
    i32 start = lo + (i32)prng_below(e, (u32)(hi - lo + 1));
    u32 parity = port & 1;
    got = port_first_free(s, start, hi, parity);
    if (got < 0) got = port_first_free(s, lo, start - 1, parity);
    if (got < 0) got = port_first_free(s, start, hi, parity ^ 1);
    if (got < 0) got = port_first_free(s, lo, start - 1, parity ^ 1);
    if (got < 0) return -1;
  }
  port_take(s, (u32)got);
  return got;
}

/* ----------------------------------------------------------------------------------------------------------- wheel -- */

/*
 * Four levels of 256 buckets, exact to the millisecond, empty stretches skipped by bit maps. A deadline that moves later is
 * put right when its bucket comes up; one that moves before `fire_at` is scheduled again at once.
 */
static void wheel_insert(Engine *e, u32 slot) {
  Flow *f = e->flows + slot;
  u32 deadline = f->deadline, bucket = e->now & 255, when = e->now;
  if ((i32)(deadline - e->now) > 0) {
    u32 level = (u32)(31 - __builtin_clz(deadline ^ e->now)) >> 3;
    bucket = level << 8 | (deadline >> (level << 3) & 255);
    when = deadline & ~((1u << (level << 3)) - 1);
  }
  u32 first = e->heads[bucket];
  f->fire_at = deadline;
  f->wheel_next = first;
  f->wheel_prev = -(i32)bucket - 1;
  if (first) e->flows[first].wheel_prev = (i32)slot;
  e->heads[bucket] = slot;
  e->occupied[bucket >> 6] |= 1ull << (bucket & 63);
  u64 due = e->ms + (when - e->now);
  if (due < e->next_event) e->next_event = due;
}

static void wheel_cancel(Engine *e, u32 slot) {
  Flow *f = e->flows + slot;
  u32 next = f->wheel_next;
  i32 prev = f->wheel_prev;
  if (next) e->flows[next].wheel_prev = prev;
  if (prev > 0) e->flows[prev].wheel_next = next;
  else {
    u32 bucket = (u32)(-prev - 1);
    e->heads[bucket] = next;
    if (!next) e->occupied[bucket >> 6] &= ~(1ull << (bucket & 63));
  }
}

/* First occupied bucket of a level above `digit`, or -1. */
static i32 wheel_above(const Engine *e, u32 level, u32 digit) {
  const u64 *words = e->occupied + level * 4;
  u32 word = digit >> 6;
  u64 bits = words[word] & (~0ull << (digit & 63) << 1);
  while (!bits) {
    if (++word == 4) return -1;
    bits = words[word];
  }
  return (i32)(word << 6) + __builtin_ctzll(bits);
}

/* Bucket that comes up next, or -1; `when` is its time. */
static i32 wheel_next(const Engine *e, u32 *when) {
  u32 t = e->now;
  i32 at;
  if (e->heads[t & 255]) return *when = t, (i32)(t & 255);
  if ((at = wheel_above(e, 0, t & 255)) >= 0) return *when = (t & ~255u) | (u32)at, at;
  if ((at = wheel_above(e, 1, t >> 8 & 255)) >= 0) return *when = (t & ~0xffffu) | (u32)at << 8, 256 + at;
  if ((at = wheel_above(e, 2, t >> 16 & 255)) >= 0) return *when = (t & ~0xffffffu) | (u32)at << 16, 512 + at;
  if ((at = wheel_above(e, 3, t >> 24)) < 0) at = e->occupied[12] & 1 ? 0 : wheel_above(e, 3, 0);
  *when = (u32)at << 24;
  return at < 0 ? -1 : 768 + at;
}

static void flow_remove(Engine *e, u32 slot);

/* Moves time on to `ms` and ends every flow whose deadline has passed by then. */
static __attribute__((noinline)) void wheel_advance(Engine *e, u64 ms) {
  for (;;) {
    u32 when;
    i32 bucket = wheel_next(e, &when);
    u64 due = bucket < 0 ? UINT64_MAX : e->ms + (when - e->now);
    if (due > ms) {
      e->ms = ms;
      e->now = (u32)ms;
      e->next_event = due;
      return;
    }
    e->ms = due;
    e->now = when;
    if (bucket > 255) {
      u32 slot = e->heads[bucket];
      e->heads[bucket] = 0;
      e->occupied[bucket >> 6] &= ~(1ull << (bucket & 63));
      while (slot) {
        u32 next = e->flows[slot].wheel_next;
        if (next) __builtin_prefetch(e->flows + next);
        wheel_insert(e, slot);
        slot = next;
      }
      continue;
    }
    for (u32 slot; (slot = e->heads[bucket]);) {
      if ((i32)(e->flows[slot].deadline - when) <= 0) {
        e->expired++;
        flow_remove(e, slot);
      } else {
        wheel_cancel(e, slot);
        wheel_insert(e, slot);
      }
    }
  }
}

/* ----------------------------------------------------------------------------------------------------------- flows -- */

/* Inside endpoint, outside endpoint and peer of a flow, as they stand in packets. */
INLINE u32 inside_addr(const Flow *f) { return (u32)f->addrs[OUT]; }
INLINE u16 inside_port(const Flow *f) { return (u16)f->ports[OUT]; }
INLINE u32 outside_addr(const Flow *f) { return (u32)(f->addrs[IN] >> 32); }
INLINE u16 outside_port(const Flow *f) { return (u16)(f->ports[IN] >> 16); }
INLINE u32 peer_addr(const Flow *f) { return (u32)f->addrs[IN]; }

INLINE u64 mapping_hash(const Engine *e, const Flow *f) {
  return endpoint_hash(e, inside_addr(f), inside_port(f), f->proto, 0);
}
INLINE u64 peer_hash(const Engine *e, const Flow *f) {
  return endpoint_hash(e, outside_addr(f), outside_port(f), f->proto, peer_addr(f));
}
INLINE PortSet *port_set(Engine *e, u32 outside_be, u32 proto) {
  return e->ports + (size_t)(__builtin_bswap32(outside_be) - e->pool_first) * CLASSES + class_of(proto);
}

INLINE int flow_is(const Flow *f, u64 addrs, u32 ports, u32 proto, u32 dir) {
  return ((f->addrs[dir] ^ addrs) | (f->ports[dir] ^ ports) | (f->proto ^ proto)) == 0;
}

/* Runs `body` for each `slot` whose tag agrees with the hash. */
#define FOR_CANDIDATES(x, hash, body) do { \
  u32 tag_ = tag_of(x, hash), bucket_ = bucket_of(x, hash); \
  for (;;) { \
    u32 *line_ = (x)->lines + (size_t)bucket_ * LANES; \
    for (u32 m_ = line_match(line_, tag_, ~(x)->slot_mask); m_; m_ &= m_ - 1) { \
      u32 slot = line_[__builtin_ctz(m_)] & (x)->slot_mask; \
      body \
    } \
    if (likely(!line_[OVERFLOW])) break; \
    if (++bucket_ == (x)->buckets) bucket_ = 0; \
  } \
} while (0)

static u32 flow_find(const Engine *e, u64 hash, u64 addrs, u32 ports, u32 proto, u32 dir) {
  FOR_CANDIDATES(&e->index, hash, if (flow_is(e->flows + slot, addrs, ports, proto, dir)) return slot;);
  return 0;
}

/* A flow of the mapping of an inside endpoint, the one that stands for it, or 0. */
static u32 mapping_find(const Engine *e, u32 addr, u16 port, u32 proto) {
  u64 hash = endpoint_hash(e, addr, port, proto, 0);
  FOR_CANDIDATES(&e->mappings, hash, {
    const Flow *f = e->flows + slot;
    if (inside_addr(f) == addr && inside_port(f) == port && f->proto == proto && f->flags & MAPPING_HEAD) return slot;
  });
  return 0;
}

/* The flow that stands for a peer address behind an outside endpoint, or 0. */
static u32 peer_find(const Engine *e, u32 addr, u16 port, u32 proto, u32 peer) {
  u64 hash = endpoint_hash(e, addr, port, proto, peer);
  FOR_CANDIDATES(&e->mappings, hash, {
    const Flow *f = e->flows + slot;
    if (outside_addr(f) == addr && outside_port(f) == port && peer_addr(f) == peer && f->proto == proto
      && f->flags & PEER_HEAD) return slot;
  });
  return 0;
}

/* Takes a flow out of every structure. A mapping lives on in its other flows, or ends and frees its port. */
static void flow_remove(Engine *e, u32 slot) {
  Flow *f = e->flows + slot;
  wheel_cancel(e, slot);
  index_delete(&e->index, flow_hash(e, f->addrs[OUT], f->ports[OUT], f->proto, OUT), slot);
  index_delete(&e->index, flow_hash(e, f->addrs[IN], f->ports[IN], f->proto, IN), slot);
  u32 heir = f->ring_next;
  if (f->flags & MAPPING_HEAD) {
    if (heir == slot) {
      index_delete(&e->mappings, mapping_hash(e, f), slot);
      port_release(port_set(e, outside_addr(f), f->proto), __builtin_bswap16(outside_port(f)));
      e->mappings_closed++;
    } else {
      index_replace(&e->mappings, mapping_hash(e, f), slot, heir);
      e->flows[heir].flags |= MAPPING_HEAD;
    }
  }
  e->flows[f->ring_prev].ring_next = heir;
  e->flows[heir].ring_prev = f->ring_prev;
  u32 sibling = f->peer_next;
  if (f->flags & PEER_HEAD) {
    if (sibling == slot) index_delete(&e->mappings, peer_hash(e, f), slot);
    else {
      index_replace(&e->mappings, peer_hash(e, f), slot, sibling);
      e->flows[sibling].flags |= PEER_HEAD;
    }
  }
  e->flows[f->peer_prev].peer_next = sibling;
  e->flows[sibling].peer_prev = f->peer_prev;
  f->proto = 0;
  f->ring_next = e->freed;
  e->freed = slot;
  e->current--;
}

/* Of the eight slots from the hand on, ends the flow with the least time left. The table is full. */
static void flow_evict(Engine *e) {
  u32 victim = 0;
  i32 least = 0;
  for (int n = 0; n < 8; n++) {
    i32 left = (i32)(e->flows[e->hand].deadline - e->now);
    if (!victim || left < least) victim = e->hand, least = left;
    e->hand = e->hand == e->capacity ? 1 : e->hand + 1;
  }
  e->evicted++;
  flow_remove(e, victim);
}

/* Makes sure that a slot is free. */
INLINE void flow_reserve(Engine *e) {
  if (unlikely(!e->freed && e->fresh > e->capacity)) flow_evict(e);
}

/*
 * Opens a flow of the mapping that `head` stands for, or of a new one (0) that has taken its port already. There is a free
 * slot.
 */
static u32 flow_open(Engine *e, u32 head, u64 out_addrs, u32 out_ports, u32 outside, u16 outside_p, u32 proto, u32 state) {
  u32 slot = e->freed;
  if (slot) e->freed = e->flows[slot].ring_next;
  else slot = e->fresh++;
  Flow *f = e->flows + slot;
  u32 peer = (u32)(out_addrs >> 32);
  u16 peer_p = (u16)(out_ports >> 16), port = (u16)out_ports;
  f->addrs[OUT] = out_addrs;
  f->ports[OUT] = out_ports;
  f->addrs[IN] = (u64)outside << 32 | peer;
  f->ports[IN] = (u32)outside_p << 16 | peer_p;
  f->proto = (u8)proto;
  f->state = (u8)state;
  f->flags = 0;
  f->delta_ip = delta32((u32)out_addrs, outside);
  u16 delta_port = delta16(port, outside_p);
  f->delta_l4 = proto == PROTO_ICMP ? delta_port : (u16)fold((u32)f->delta_ip + delta_port);
  index_insert(&e->index, flow_hash(e, out_addrs, out_ports, proto, OUT), slot);
  index_insert(&e->index, flow_hash(e, f->addrs[IN], f->ports[IN], proto, IN), slot);

  if (!head) {
    f->flags = MAPPING_HEAD | PEER_HEAD;
    f->ring_next = f->ring_prev = f->peer_next = f->peer_prev = slot;
    index_insert(&e->mappings, mapping_hash(e, f), slot);
    index_insert(&e->mappings, peer_hash(e, f), slot);
    e->mappings_opened++;
  } else {
    Flow *h = e->flows + head;
    f->ring_prev = head;
    f->ring_next = h->ring_next;
    e->flows[f->ring_next].ring_prev = slot;
    h->ring_next = slot;
    u32 sibling = peer_find(e, outside, outside_p, proto, peer);
    if (!sibling) {
      f->flags = PEER_HEAD;
      f->peer_next = f->peer_prev = slot;
      index_insert(&e->mappings, peer_hash(e, f), slot);
    } else {
      Flow *s = e->flows + sibling;
      f->peer_prev = sibling;
      f->peer_next = s->peer_next;
      e->flows[f->peer_next].peer_prev = slot;
      s->peer_next = slot;
    }
  }
  f->deadline = e->now + e->timeout[state];
  wheel_insert(e, slot);
  e->opened++;
  if (++e->current > e->peak) e->peak = e->current;
  return slot;
}

static u32 opening_state(u32 proto, u32 dir, u32 flags) {
  if (proto == PROTO_UDP) return S_UDP;
  if (proto == PROTO_ICMP) return S_ICMP;
  if ((flags & (SYN | ACK)) == SYN) return dir == OUT ? S_SYN_OUT : S_SYN_IN;
  return dir == OUT ? S_MID_OUT : S_MID_IN;
}

INLINE int is_icmp_reply(const Packet *p) { return p->proto == PROTO_ICMP && (p->ip[p->l4] == 0 || p->ip[p->l4] == 14); }

/* A packet from inside without a flow: its new flow's slot, or 0 and a reason. */
static __attribute__((noinline)) u32 open_from_inside(Engine *e, Packet *p) {
  if (is_icmp_reply(p)) return p->reason = R_NO_STATE, 0;
  if (p->proto == PROTO_TCP && p->flags & RST) return p->reason = R_TCP_MIDSTREAM, 0;
  u32 inside = (u32)p->addrs;
  u16 port = (u16)p->ports, outside_p;
  u32 outside;
  flow_reserve(e);
  u32 head = mapping_find(e, inside, port, p->proto);
  if (head) {
    outside = outside_addr(e->flows + head);
    outside_p = outside_port(e->flows + head);
  } else {
    outside = __builtin_bswap32(e->pool_first + paired_index(e, inside));
    i32 got = choose_port(e, port_set(e, outside, p->proto), class_of(p->proto), __builtin_bswap16(port));
    if (got < 0) return p->reason = R_NO_OUTSIDE_PORT, 0;
    outside_p = __builtin_bswap16((u16)got);
  }
  return flow_open(e, head, p->addrs, p->ports, outside, outside_p, p->proto, opening_state(p->proto, OUT, p->flags));
}

/* A packet from outside to one of our addresses without a flow. */
static __attribute__((noinline)) u32 open_from_outside(Engine *e, Packet *p) {
  u32 outside = (u32)(p->addrs >> 32), peer = (u32)p->addrs;
  u16 outside_p = (u16)(p->ports >> 16);
  PortSet *set = port_set(e, outside, p->proto);
  if (!port_used(set, __builtin_bswap16(outside_p))) return p->reason = R_NO_MAPPING, 0;
  if (is_icmp_reply(p)) return p->reason = R_NO_STATE, 0;
  u32 sibling = peer_find(e, outside, outside_p, p->proto, peer);
  if (!sibling) return p->reason = R_FILTERED, 0;
  if (p->proto == PROTO_TCP && p->flags & RST) return p->reason = R_TCP_MIDSTREAM, 0;
  u32 inside = inside_addr(e->flows + sibling);
  u16 inside_p = inside_port(e->flows + sibling);
  flow_reserve(e);
  u32 head = mapping_find(e, inside, inside_p, p->proto);
  if (!head) return p->reason = R_NO_MAPPING, 0;        /* the room was made by ending it */
  return flow_open(e, head, (u64)peer << 32 | inside, p->ports << 16 | inside_p, outside, outside_p, p->proto,
    opening_state(p->proto, IN, p->flags));
}

/* ------------------------------------------------------------------------------------------------- stage 1: checks -- */

static int is_inside(const Engine *e, u32 addr) {
  for (u32 i = 0; i < e->prefixes; i++) if ((addr & e->prefix_mask[i]) == e->prefix_value[i]) return 1;
  return 0;
}

/* Classes of the 65,536 addresses with the same upper half. */
enum { INSIDE = 1, PARTLY_INSIDE = 2, NO_SOURCE = 4, NO_DESTINATION = 8 };

static u8 class_of_block(const Engine *e, u32 block) {
  u32 first = block << 16, top = block >> 8, class = 0;
  for (u32 i = 0; i < e->prefixes; i++) {
    if ((first & e->prefix_mask[i]) == e->prefix_value[i] && (e->prefix_mask[i] & 0xffff) == 0) class |= INSIDE;
    else if ((e->prefix_value[i] & 0xffff0000) == first) class |= PARTLY_INSIDE;
  }
  if (class & INSIDE) class = INSIDE;
  if (top == 0 || top == 127 || top >= 224 || block == 0xa9fe) class |= NO_SOURCE | NO_DESTINATION;
  return (u8)class;
}

INLINE int is_ours(const Engine *e, u32 addr) { return addr - e->pool_first < e->pool_size; }

enum { LINK_ETHERNET = 1 };
enum { MAX_TAGS = 8 };
static int is_vlan(u32 type) { return type == 0x8100 || type == 0x88a8 || type == 0x9100; }

/* Offset of the IPv4 header in the frame, or -1 - reason. */
static i32 locate(const u8 *f, u32 cap, u32 link) {
  if (link != LINK_ETHERNET) return -1 - R_LINK_UNSUPPORTED;
  if (cap < 14) return -1 - R_LINK_TRUNCATED;
  u32 type = be16(f + 12), at = 14;
  for (int tags = 0; is_vlan(type); tags++) {
    if (tags == MAX_TAGS) return -1 - R_LINK_UNSUPPORTED;
    if (cap - at < 4) return -1 - R_LINK_TRUNCATED;
    type = be16(f + at + 2);
    at += 4;
  }
  if (type < 0x600) {                           /* a length: LLC, SNAP (RFC 1042) */
    if (cap - at < 3) return -1 - R_LINK_TRUNCATED;
    if (be16(f + at) != 0xaaaa || f[at + 2] != 3) return -1 - R_NOT_IP;
    if (cap - at < 8) return -1 - R_LINK_TRUNCATED;
    if (be16(f + at + 3) != 0 || f[at + 5] != 0) return -1 - R_NOT_IP;
    type = be16(f + at + 6);
    at += 8;
  }
  switch (type) {
    case 0x0800: return (i32)at;
    case 0x86dd: return -1 - R_UNSUPPORTED;
    case 0x0806: return -1 - R_ARP;
    case 0x8847: case 0x8848: case 0x8864: return -1 - R_LINK_UNSUPPORTED;
    default: return -1 - R_NOT_IP;
  }
}

static int check_options(const u8 *at, const u8 *end) {
  int found = PASSED;
  while (at < end) {
    if (*at == 0) break;
    if (*at == 1) { at++; continue; }
    if (at + 1 >= end || at[1] < 2 || at + at[1] > end) return R_BAD_OPTIONS;
    if (*at == 131 || *at == 137) found = R_SOURCE_ROUTE;
    at += at[1];
  }
  return found;
}

/* Flags that no TCP connection has: the reason to drop, or PASSED. */
static int judge_flags(u32 flags) {
  if (!(flags & (SYN | ACK | FIN | RST))) return R_TCP_NULL;
  if ((flags & (SYN | FIN)) == (SYN | FIN)) return R_TCP_SYN_FIN;
  if ((flags & (SYN | RST)) == (SYN | RST)) return R_TCP_SYN_RST;
  if ((flags & (FIN | RST)) == (FIN | RST)) return R_TCP_FIN_RST;
  if ((flags & (FIN | ACK)) != FIN) return PASSED;
  return (flags & (PSH | URG)) == (PSH | URG) ? R_TCP_XMAS : R_TCP_FIN_WITHOUT_ACK;
}

/* Check 6. `there` bytes are captured from the transport header on, `bytes` are in the packet. */
static int check_transport(const u8 *l4, u32 proto, u32 bytes, u32 there) {
  u32 least = proto == PROTO_TCP ? 20 : 8;
  if (bytes < least) return R_TRANSPORT_BAD_LENGTH;
  if (there < least) return R_TRANSPORT_TRUNCATED;
  if (proto == PROTO_ICMP) return PASSED;
  u32 says = proto == PROTO_TCP ? (u32)(l4[12] >> 4) << 2 : be16(l4 + 4);
  if (says < least || says > bytes) return R_TRANSPORT_BAD_LENGTH;
  return proto == PROTO_TCP ? judge_flags(l4[13]) : PASSED;
}

/* Every check of the contract in its order, for packets that the short cut in `parse` does not pass. */
static __attribute__((noinline)) int parse_slowly(Engine *e, Packet *p, u8 *frame, u32 cap, u32 wire, u32 link) {
  i32 l3 = locate(frame, cap, link);
  if (l3 < 0) return -1 - l3;
  u8 *ip = frame + l3;
  cap -= (u32)l3;
  wire -= (u32)l3;
  p->ip = ip;
  if (cap < 20) return R_IP_TRUNCATED;
  if (ip[0] >> 4 != 4) return R_IP_BAD_VERSION;
  u32 header = (u32)(ip[0] & 15) << 2, total = be16(ip + 2);
  if (header < 20) return R_BAD_HEADER_LENGTH;
  if (total < header || total > wire) return R_IP_BAD_LENGTH;
  if (cap < header) return R_IP_TRUNCATED;
  u32 sum = header_sum(ip);
  for (u32 i = 20; i < header; i += 2) sum += ld16(ip + i);
  if (fold(sum) != 0xffff) {
    if (ld16(ip + 10) != 0) return R_BAD_CHECKSUM;
    st16(ip + 10, (u16)~fold(sum));             /* repair-zero */
  }
  int bad = check_options(ip + 20, ip + header);
  if (bad != PASSED) return bad;
  p->net_end = (u32)l3 + total;

  u32 proto = ip[9], src = __builtin_bswap32(ld32(ip + 12)), dst = __builtin_bswap32(ld32(ip + 16));
  int supported = proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_ICMP;
  int whole = (be16(ip + 6) & 0x3fff) == 0;
  int transport = PASSED;
  u8 *l4 = ip + header;
  if (supported && whole) {
    u32 there = (cap < total ? cap : total) - header;
    transport = check_transport(l4, proto, total - header, there);
  }
  int from_inside = is_inside(e, src), to_inside = is_inside(e, dst), ours = is_ours(e, dst);
  /* The world re-addresses what it has for the inside before it enters the box: see `play_world`. */
  int world = !from_inside && to_inside && supported && whole && transport == PASSED;

  u32 s = src >> 24, d = dst >> 24;
  if (s == 0 || s == 127 || s >= 224) return R_MARTIAN_SOURCE;
  if (src == dst) return R_LAND;
  if (is_ours(e, src)) return R_MARTIAN_SOURCE;
  if (!world) {
    if (d == 0 || d == 127 || (d >= 240 && dst != 0xffffffff)) return R_MARTIAN_DESTINATION;
    if (d >= 224) return R_MULTICAST;
    if (dst >> 16 == 0xa9fe) return R_LINK_LOCAL;
  }
  if (src >> 16 == 0xa9fe) return R_LINK_LOCAL;
  if (ip[8] <= 1) return R_TTL_EXCEEDED;
  if (!whole || !supported) return R_UNSUPPORTED;
  if (transport != PASSED) return transport;
  u32 ports = ld32(l4);
  if (proto == PROTO_ICMP) {
    u32 type = l4[0];
    if (type == 3 || type == 11 || type == 12) return R_UNSUPPORTED;
    if (type != 8 && type != 0 && type != 13 && type != 14) return R_ICMP_NOT_FORWARDED;
    ports = (u32)ld16(l4 + 4) << (from_inside ? 0 : 16);
  }
  if (from_inside) {
    if (to_inside) return R_INSIDE_TO_INSIDE;
    if (ours) return R_UNSUPPORTED;             /* hairpinning */
  } else if (!world && !ours) return R_OUTSIDE_TO_OUTSIDE;
  p->l4 = (u8)header;
  p->addrs = ld64(ip + 12);
  p->ports = ports;
  p->proto = (u8)proto;
  p->flags = proto == PROTO_TCP ? l4[13] & 31 : 0;
  p->world = (u8)world;
  p->dir = from_inside ? OUT : IN;
  return PASSED;
}

/* Chooses without a branch, and keeps the compiler from making one: for what no predictor can know. */
INLINE u32 choose(u32 which, u32 if1, u32 if0) {
  u32 mask = -which;
  __asm__("" : "+r"(mask));
  return if0 ^ ((if0 ^ if1) & mask);
}

/* What the world will re-address is looked for by its reverse: most likely the flow is known, and that is its way out. */
INLINE void hash_packet(Engine *e, Packet *p) {
  if (unlikely(p->world)) {
    p->hash = flow_hash(e, p->addrs >> 32 | p->addrs << 32, p->ports >> 16 | p->ports << 16, p->proto, OUT);
  } else p->hash = flow_hash(e, p->addrs, p->ports, p->proto, p->dir);
  p->bucket = bucket_of(&e->index, p->hash);
  __builtin_prefetch(e->index.lines + (size_t)p->bucket * LANES);
}

/*
 * The short cut for UDP and TCP behind plain Ethernet and IPv4 headers with nothing wrong. What fails a test here meets all
 * of them again, in order, in `parse_slowly`. Protocol and direction change from packet to packet, so they choose by masks.
 */
INLINE int parse_usual(Engine *e, const Frame *f, Packet *p) {
  u8 *frame = f->data, *ip = frame + 14;
  if (unlikely(f->cap < 14 + 28 || f->link != LINK_ETHERNET)) return 0;
  /* Type, version, header length; then flags and offset. */
  if (unlikely((ld32(frame + 12) & 0xffffff) != 0x450008)) return 0;
  if (unlikely((ld16(ip + 6) & 0xff3f) != 0 || ip[8] <= 1)) return 0;
  if (unlikely(header_sum(ip) != 0xffff)) return 0;
  u32 total = be16(ip + 2), proto = ip[9], tcp = proto == PROTO_TCP;
  if (unlikely(!(tcp | (proto == PROTO_UDP)))) return 0;
  u32 least = 8 + tcp * 12, says = choose(tcp, (u32)(ip[32] >> 2) & 0x3c, be16(ip + 24));
  if (unlikely((total > f->wire - 14) | (total < 20 + least) | (f->cap < 34 + least))) return 0;
  if (unlikely((says < least) | (says > total - 20) | (tcp & e->bad_flags >> (ip[33] & 31)))) return 0;
  u64 addrs = ld64(ip + 12);
  u32 src = __builtin_bswap32((u32)addrs), dst = __builtin_bswap32((u32)(addrs >> 32));
  u32 src_class = e->block_class[src >> 16], dst_class = e->block_class[dst >> 16];
  if (unlikely((src_class & NO_SOURCE) | (dst_class & NO_DESTINATION) | (src == dst))) return 0;
  if (unlikely((src_class | dst_class) & PARTLY_INSIDE)) {
    if (src_class & PARTLY_INSIDE) src_class = (u32)is_inside(e, src);
    if (dst_class & PARTLY_INSIDE) dst_class = (u32)is_inside(e, dst);
  }
  u32 in = (src_class & INSIDE) ^ 1, to_inside = dst_class & INSIDE;
  /* From outside to ours or, for the world to re-address, to the inside; from inside to neither; and not from us. */
  if (unlikely((in ^ ((u32)is_ours(e, dst) | to_inside)) | (u32)is_ours(e, src))) return 0;
  p->ip = ip;
  p->addrs = addrs;
  p->ports = ld32(ip + 20);
  p->net_end = 14 + total;
  p->l4 = 20;
  p->proto = (u8)proto;
  p->dir = (u8)in;
  p->flags = ip[33] & 31;                       /* of UDP anything: its row of the state table does not look */
  p->world = (u8)to_inside;
  p->port_at = (u8)(in * 2);
  p->sum_at = (u8)(6 + tcp * 10);
  hash_packet(e, p);
  return 1;
}

/* Reads what the later stages need, and lets the index come nearer. */
INLINE void parse(Engine *e, const Frame *f, Packet *p) {
  p->guess = 0;
  p->reason = PASSED;
  if (likely(parse_usual(e, f, p))) return;
  p->reason = (u8)parse_slowly(e, p, f->data, f->cap, f->wire, f->link);
  if (p->reason != PASSED) return;
  p->port_at = p->proto == PROTO_ICMP ? 4 : p->dir * 2;
  p->sum_at = p->proto == PROTO_TCP ? 16 : p->proto == PROTO_UDP ? 6 : 2;
  hash_packet(e, p);
}

/* ----------------------------------------------------------------------------------------------- stage 2: the index -- */

INLINE void look(Engine *e, Packet *p) {
  if (unlikely(p->reason != PASSED)) return;
  const u32 *line = e->index.lines + (size_t)p->bucket * LANES;
  u32 found = line_match(line, tag_of(&e->index, p->hash), ~e->index.slot_mask);
  if (likely(found)) {
    p->guess = line[__builtin_ctz(found)] & e->index.slot_mask;
    __builtin_prefetch(e->flows + p->guess, 1);
  }
}

/* ----------------------------------------------------------------------------------------------- stage 3: the packet -- */

/* Applies a delta to the transport checksum. UDP: none stays none, and a result of 0 is sent as 0xffff (RFC 768). */
INLINE void fix_transport(u8 *at, u32 udp, u32 delta) {
  u32 was = ld16(at), sum = sum_apply((u16)was, delta);
  if (unlikely(was == 0 || sum == 0) && udp) sum = was == 0 ? 0 : 0xffff;
  st16(at, (u16)sum);
}

/* The outside world of a replay: sends what is meant for an inside host to where that host is seen from outside. */
static __attribute__((noinline)) void play_world(Engine *e, Packet *p) {
  u32 inside = (u32)(p->addrs >> 32), outside;
  u16 inside_p = (u16)(p->ports >> 16), outside_p;
  u32 slot = p->guess;
  u64 out_addrs = p->addrs << 32 | p->addrs >> 32;
  u32 out_ports = p->ports << 16 | p->ports >> 16;
  if (!flow_is(e->flows + slot, out_addrs, out_ports, p->proto, OUT)) slot = mapping_find(e, inside, inside_p, p->proto);
  if (slot) {
    outside = outside_addr(e->flows + slot);
    outside_p = outside_port(e->flows + slot);
  } else {
    outside = __builtin_bswap32(e->pool_first + paired_index(e, inside));
    outside_p = inside_p;
  }
  u32 delta = delta32(inside, outside), delta_port = delta16(inside_p, outside_p);
  st32(p->ip + 16, outside);
  st16(p->ip + 10, sum_apply(ld16(p->ip + 10), delta));
  u8 *l4 = p->ip + p->l4;
  st16(l4 + p->port_at, outside_p);
  fix_transport(l4 + p->sum_at, p->proto == PROTO_UDP, p->proto == PROTO_ICMP ? delta_port : fold(delta + delta_port));
  p->addrs = (u64)outside << 32 | (u32)p->addrs;
  p->ports = (u32)outside_p << 16 | (u16)p->ports;
  p->hash = flow_hash(e, p->addrs, p->ports, p->proto, IN);
}

INLINE void drop(Engine *e, Frame *frame, u32 reason) {
  frame->verdict = DROP;
  e->drops[reason]++;
}

/* A later millisecond than the latest. An earlier one never comes here: time does not go back. */
static __attribute__((noinline)) void tick(Engine *e, u64 ns) {
  u64 ms = (ns - e->first_ns) / 1000000;
  if (ms >= e->next_event) wheel_advance(e, ms);
  e->ms = ms;
  e->now = (u32)ms;
  e->tick_ns = e->first_ns + (ms + 1) * 1000000;
}

INLINE void forward(Engine *e, Frame *frame, Packet *p) {
  if (unlikely(frame->ns >= e->tick_ns)) tick(e, frame->ns);
  e->in_bytes += frame->wire;
  if (unlikely(p->reason != PASSED)) return drop(e, frame, p->reason);
  if (unlikely(p->world)) play_world(e, p);

  u32 dir = p->dir, proto = p->proto, slot = p->guess;
  Flow *f = e->flows + slot;
  if (unlikely(!flow_is(f, p->addrs, p->ports, proto, dir))) {
    slot = flow_find(e, p->hash, p->addrs, p->ports, proto, dir);
    if (!slot) {
      slot = dir == OUT ? open_from_inside(e, p) : open_from_outside(e, p);
      if (!slot) return drop(e, frame, p->reason);
      f = e->flows + slot;
      goto rewrite;
    }
    f = e->flows + slot;
  }
  u32 next = e->next[f->state][dir][p->flags];
  if (likely(!(next & KEEP_DEADLINE))) {
    u32 state = next & ~(u32)NOT_LATER, deadline = e->now + e->timeout[state];
    f->state = (u8)state;
    if (unlikely((next & NOT_LATER) && (i32)(f->deadline - deadline) < 0)) goto rewrite;
    f->deadline = deadline;
    if (unlikely((i32)(deadline - f->fire_at) < 0)) {
      wheel_cancel(e, slot);
      wheel_insert(e, slot);
    }
  }

rewrite:;
  /* What to write stands in the key of the other direction: its destination on the way out, its source on the way in. */
  u8 *ip = p->ip, *l4 = ip + p->l4;
  u32 other = dir ^ 1, invert = -dir & 0xffff;
  st32(ip + 12 + dir * 4, (u32)(f->addrs[other] >> (other << 5)));
  st16(l4 + p->port_at, (u16)(f->ports[other] >> (other << 4)));
  ip[8]--;
  st16(ip + 10, sum_apply(ld16(ip + 10), (f->delta_ip ^ invert) + 0xfffe));
  fix_transport(l4 + p->sum_at, proto == PROTO_UDP, f->delta_l4 ^ invert);
  frame->verdict = (u8)(TO_OUTSIDE - dir);
  frame->net_end = p->net_end;
  e->sent[dir]++;
  e->sent_bytes[dir] += p->net_end;
}

/* Processes `count` packets, in order. */
static void engine_process(Engine *e, Frame *frames, u32 count) {
  Packet packets[STAGE];
  if (unlikely(!e->started && count)) {
    e->started = 1;
    e->first_ns = frames[0].ns;
    e->tick_ns = e->first_ns + 1000000;
  }
  e->in_packets += count;
  while (count) {
    u32 n = count < STAGE ? count : STAGE;
    for (u32 i = 0; i < n; i++) parse(e, frames + i, packets + i);
    for (u32 i = 0; i < n; i++) look(e, packets + i);
    for (u32 i = 0; i < n; i++) forward(e, frames + i, packets + i);
    frames += n;
    count -= n;
  }
}

/* ---------------------------------------------------------------------------------------------------------- set-up -- */

/* The table of TCP states of the contract. */
static u32 next_state(u32 state, u32 dir, u32 flags) {
  enum { E_OTHER, E_ACK, E_FIN, E_SYN, E_SYN_ACK, E_RST } event;
  if (flags & RST) event = E_RST;
  else if (flags & SYN) event = flags & ACK ? E_SYN_ACK : E_SYN;
  else if (flags & FIN) event = E_FIN;
  else event = flags & ACK ? E_ACK : E_OTHER;
  u32 own;
  switch (state) {
    case S_SYN_OUT: case S_SYN_IN: case S_MID_OUT: case S_MID_IN:
      own = (state == S_SYN_OUT || state == S_MID_OUT) == (dir == OUT);
      if (event == E_RST) return S_RESET;
      if (own) return state;
      if (event == E_FIN) return dir == OUT ? S_FIN_OUT : S_FIN_IN;
      if (event == E_OTHER && (state == S_SYN_OUT || state == S_SYN_IN)) return state;
      return S_ESTABLISHED;
    case S_ESTABLISHED:
      if (event == E_RST) return S_RESET;
      if (event == E_FIN) return dir == OUT ? S_FIN_OUT : S_FIN_IN;
      return state;
    case S_FIN_OUT: case S_FIN_IN:
      if (event == E_RST) return S_RESET;
      return event == E_FIN && (dir == OUT) != (state == S_FIN_OUT) ? (u32)S_FIN_BOTH : state;
    case S_FIN_BOTH:
      return event == E_SYN ? (dir == OUT ? S_SYN_OUT : S_SYN_IN) : state;
    case S_RESET:
      if (event == E_RST) return state;
      return event == E_SYN ? (dir == OUT ? S_SYN_OUT : S_SYN_IN) : S_ESTABLISHED;
    default:
      return state;
  }
}

static void engine_create(Engine *e, const Options *o) {
  memset(e, 0, sizeof *e);
  e->capacity = o->flows;
  e->fresh = 1;
  e->hand = 1;
  e->pool_first = o->pool_first;
  e->pool_size = o->pool_size;
  e->seed = o->seed;
  e->salt[0] = 0x9e3779b97f4a7c15ull ^ ((u64)o->seed << 32);
  e->salt[1] = 0xe7037ed1a0b428dbull + o->seed;
  e->prng = (i32)(((o->seed ^ 0x5bd1e995u) * 0x9e3779b1u) | 1);
  for (int i = 0; i < 8; i++) prng_below(e, 1);

  e->prefixes = o->prefixes;
  memcpy(e->prefix_value, o->prefix_value, sizeof e->prefix_value);
  memcpy(e->prefix_mask, o->prefix_mask, sizeof e->prefix_mask);
  for (u32 block = 0; block < 65536; block++) e->block_class[block] = class_of_block(e, block);

  for (u32 flags = 0; flags < 32; flags++) e->bad_flags |= (u32)(judge_flags(flags) != PASSED) << flags;
  for (u32 state = 0; state < STATES; state++) {
    e->timeout[state] = 240000;
    for (u32 dir = 0; dir < 2; dir++) {
      for (u32 flags = 0; flags < 32; flags++) {
        u32 next = next_state(state, dir, flags);
        int refused = dir == OUT && (state == S_SYN_IN || state == S_MID_IN);
        int closing = state == S_FIN_BOTH || state == S_RESET, reset = (flags & RST) != 0;
        e->next[state][dir][flags] = (u8)(next | (reset && closing ? KEEP_DEADLINE : reset && refused ? NOT_LATER : 0));
      }
    }
  }
  e->timeout[S_UDP] = 300000;
  e->timeout[S_ICMP] = 60000;
  e->timeout[S_ESTABLISHED] = e->timeout[S_FIN_OUT] = e->timeout[S_FIN_IN] = 7440000;
  e->next_event = UINT64_MAX;

  u32 slot_mask = (u32)((1ull << (32 - __builtin_clz(o->flows))) - 1);
  e->flows = table_alloc(((size_t)o->flows + 1) * sizeof(Flow));
  index_create(&e->index, 2ull * o->flows, 0.6, slot_mask);
  index_create(&e->mappings, 2ull * o->flows, 0.75, slot_mask);
  e->ports = table_alloc((size_t)o->pool_size * CLASSES * sizeof(PortSet));
  e->table_bytes = ((u64)o->flows + 1) * sizeof(Flow) + ((u64)e->index.buckets + e->mappings.buckets) * LANES * 4
    + (u64)o->pool_size * CLASSES * sizeof(PortSet) + sizeof e->heads + sizeof e->occupied;
}

#endif
