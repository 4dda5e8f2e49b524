/*
 * Cuts frames that a sender on the same host left to hardware to cut (TSO, USO): TCP and UDP, over IPv4 and IPv6, as the virtio_net_hdr
 * before such a frame tells. Segments are those that Linux would have made: headers are copied, IPv4's identification counts up,
 * CWR is set in the first at most, FIN and PSH in the last, and all checksums are made anew.
 */
#ifndef PINHOLE_SEGMENT_H
#define PINHOLE_SEGMENT_H
#include "checksum.h"
#include <linux/virtio_net.h>
#include <string.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum { TCP_FIN_PSH = 0x09, TCP_CWR = 0x80 };

struct joined {
  const uint8_t *frame;
  uint32_t l4, payload, end;      /* offsets in the frame; `end` is behind the payload */
  uint32_t field;                 /* of the checksum, from l4 on */
  uint64_t pseudo;                /* sum of the pseudo header but for its length */
  uint8_t protocol;
  uint32_t size;                  /* of the payload of a segment */
  uint32_t at;                    /* of the next segment: offset in the frame */
};

static inline void put16(uint8_t *p, uint32_t value) {
  p[0] = value >> 8;
  p[1] = value;
}

/* 0: not a frame that can be cut into segments of at most `most_bytes`. */
static inline int open_joined(struct joined *j, uint8_t *frame, uint32_t bytes, const struct virtio_net_hdr *h, uint32_t most_bytes) {
  uint8_t type = h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
  int is_tcp = type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6;
  if ((!is_tcp && type != VIRTIO_NET_HDR_GSO_UDP_L4) || h->gso_size == 0) return 0;
  if (bytes < ETH_HLEN + 28) return 0;
  int is_v4 = (frame[12] << 8 | frame[13]) == ETH_P_IP;
  if (is_tcp && is_v4 != (type == VIRTIO_NET_HDR_GSO_TCPV4)) return 0;
  if ((frame[ETH_HLEN] >> 4) != (is_v4 ? 4 : 6) || (is_v4 && (frame[ETH_HLEN] & 15) < 5)) return 0;
  struct checksummed c;
  if (!find_checksum(frame, bytes, &c) || c.protocol != (is_tcp ? 6 : 17)) return 0;
  j->frame = frame;
  j->protocol = c.protocol;
  j->l4 = c.l4 - frame;
  j->end = c.end - frame;
  j->field = c.field - c.l4;
  /* What was left to the hardware holds it, with the length of all. A routing header's final destination is in it. */
  j->pseudo = (uint64_t)(c.field[0] << 8 | c.field[1]) + (~(c.end - c.l4) & 0xffff);
  /* In a tunnel it is the inner packet that is joined. */
  if ((h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0 || h->csum_start != j->l4) return 0;
  uint32_t header = is_tcp ? (frame[j->l4 + 12] >> 4) << 2 : 8;
  if (is_tcp && header < 20) return 0;
  j->payload = j->at = j->l4 + header;
  j->size = h->gso_size;
  return j->payload < j->end && j->payload + j->size <= most_bytes;
}

/* Writes the next segment, and returns its bytes; 0: there is none left. */
static inline uint32_t next_segment(struct joined *j, uint8_t *to) {
  if (j->at >= j->end) return 0;
  uint32_t piece = j->end - j->at < j->size ? j->end - j->at : j->size, done = j->at - j->payload;
  int is_last = j->at + piece == j->end;
  memcpy(to, j->frame, j->payload);
  memcpy(to + j->payload, j->frame + j->at, piece);
  uint8_t *p = to + ETH_HLEN, *l4 = to + j->l4, *end = to + j->payload + piece, *field = l4 + j->field;
  if (p[0] >> 4 == 4) {
    put16(p + 2, end - p);
    put16(p + 4, (p[4] << 8 | p[5]) + done / j->size);
    put16(p + 10, 0);
    put16(p + 10, ~fold(add_bytes(0, p, l4)));
  } else put16(p + 4, end - p - 40);
  if (j->protocol == 6) {
    uint32_t seq = ((uint32_t)l4[4] << 24 | l4[5] << 16 | l4[6] << 8 | l4[7]) + done;
    put16(l4 + 4, seq >> 16);
    put16(l4 + 6, seq);
    if (!is_last) l4[13] &= ~TCP_FIN_PSH;
    if (done > 0) l4[13] &= ~TCP_CWR;
  } else put16(l4 + 4, end - l4);
  put16(field, 0);
  uint32_t checksum = ~fold(add_bytes(j->pseudo + (end - l4), l4, end)) & 0xffff;
  put16(field, checksum == 0 && j->protocol == 17 ? 0xffff : checksum);
  j->at += piece;
  return end - to;
}
#endif
