/* Checksums that a sender on the same host left to hardware which there is none of: TCP and UDP, over IPv4 and IPv6. */
#ifndef PINHOLE_CHECKSUM_H
#define PINHOLE_CHECKSUM_H
#include <linux/if_ether.h>
#include <stdint.h>

static inline uint32_t fold(uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return (uint32_t)sum;
}

static inline uint64_t add_bytes(uint64_t sum, const uint8_t *from, const uint8_t *end) {
  for (; from + 1 < end; from += 2) sum += from[0] << 8 | from[1];
  return from < end ? sum + (from[0] << 8) : sum;
}

/* Where the checksum of a packet is, and what it is over. */
struct checksummed {
  uint8_t *l4, *end, *field;
  uint8_t protocol;
  uint64_t addresses;             /* their sum, which is part of the pseudo header's */
};

/* 0: there is none in this frame, or the frame is not whole. */
static inline int find_checksum(uint8_t *frame, uint32_t bytes, struct checksummed *c) {
  if (bytes < ETH_HLEN + 28) return 0;
  uint8_t *p = frame + ETH_HLEN, *end = frame + bytes;
  uint16_t type = frame[12] << 8 | frame[13];
  if (type == ETH_P_IP) {
    /* No checksum covers a fragment. */
    if ((p[6] & 0x3f) != 0 || p[7] != 0) return 0;
    c->l4 = p + ((p[0] & 15) << 2);
    c->end = p + (p[2] << 8 | p[3]);
    c->protocol = p[9];
    c->addresses = add_bytes(0, p + 12, p + 20);
  } else if (type == ETH_P_IPV6 && bytes >= ETH_HLEN + 40) {
    c->l4 = p + 40;
    c->end = c->l4 + (p[4] << 8 | p[5]);
    c->protocol = p[6];
    c->addresses = add_bytes(0, p + 8, p + 40);
    while ((c->protocol == 0 || c->protocol == 43 || c->protocol == 60) && c->l4 + 8 <= end) {
      c->protocol = c->l4[0];
      c->l4 += (c->l4[1] + 1) << 3;
    }
  } else return 0;
  int at = c->protocol == 6 ? 16 : c->protocol == 17 ? 6 : -1;
  if (at < 0 || c->end > end || c->l4 + at + 2 > c->end) return 0;
  c->field = c->l4 + at;
  return 1;
}

/* What was left to the hardware holds the sum of the pseudo header; the sum over all of the rest completes it. */
static inline void complete(struct checksummed *c) {
  uint32_t checksum = ~fold(add_bytes(0, c->l4, c->end)) & 0xffff;
  if (checksum == 0 && c->protocol == 17) checksum = 0xffff;
  c->field[0] = checksum >> 8;
  c->field[1] = checksum;
}

/*
 * Does the field hold the sum of the pseudo header and no more? A checksum that is complete may be the same by chance, one in 65,536;
 * it then comes out of `complete` as it was.
 */
static inline int is_incomplete(const struct checksummed *c) {
  uint32_t held = c->field[0] << 8 | c->field[1];
  return held == fold(c->addresses + c->protocol + (uint64_t)(c->end - c->l4));
}
#endif
