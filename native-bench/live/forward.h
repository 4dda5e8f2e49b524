/*
 * What the two kinds of sockets of `forward` have in common: an interface, and what is done with its frames. A driver is known when
 * the loop over it is compiled, so nothing of it is called through a pointer.
 */
#ifndef FORWARD_H
#define FORWARD_H
#define _GNU_SOURCE
#include "../baseline/engine.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Frames that wait for the box, and for the wire, as the drivers of Pinhole have them; frames that are ours at a time. */
enum { RX_SLOTS = 4096, TX_SLOTS = 2048, SLOT_BYTES = 2048, BATCH = 256, MOST_MTU = 1500 };

typedef struct {
  u32 *producer, *consumer, *flags;
  void *entries;
  u32 mask, ours, theirs;       /* indices: what we have written last, and read last */
} Ring;

typedef struct {
  const char *name;
  u32 address, addresses;       /* the first, as in packets, and how many there are */
  u8 mac[6], head[12];          /* `head`: how Ethernet frames begin that leave here */
  int index, fd;
  int is_pending;               /* frames were sent that the kernel has not been told of */
  u32 most_bytes;               /* of a frame */
  u64 received, sent, no_room, not_taken, ring_drops;
  /* Packet rings */
  u8 *rx, *tx;
  u32 rx_head, rx_tail, tx_head, tx_tail;
  /* XDP */
  Ring rx_ring, tx_ring, fill, done;
  u32 lent, away;
  int map;
} Port;

typedef struct {
  void (*open)(Port *ports);
  /* At most so many frames of a port; they stay where they are until they are sent or dropped. */
  u32 (*receive)(Port *p, Frame *frames, u32 most);
  /* A frame that was received, of any port. */
  void (*send)(Port *p, u8 *frame, u32 bytes);
  void (*drop)(u8 *frame);
  /* The batch is over: room for the next. */
  void (*release)(Port *p);
  /* Has the kernel send; 1: it could not yet. */
  int (*kick)(Port *p);
  void (*statistics)(Port *p);
} Driver;

static void die(const char *what, const char *of) {
  fprintf(stderr, "forward: %s%s%s: %s\n", of ? of : "", of ? ": " : "", what, strerror(errno));
  exit(1);
}

static int bpf(int command, union bpf_attr *attributes) { return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes); }

static int must_bpf(int command, union bpf_attr *attributes, const char *what, const char *name) {
  int got = bpf(command, attributes);
  if (got < 0) die(what, name);
  return got;
}

static void set_option(const Port *p, int level, int option, const char *what, const void *value, socklen_t bytes) {
  if (setsockopt(p->fd, level, option, value, bytes) < 0) die(what, p->name);
}

/*
 * The checksum of UDP or TCP of a whole IPv4 packet, or NULL; `pseudo`: the sum of its pseudo header, `end`: of what it is over.
 */
INLINE u8 *find_sum(u8 *frame, u32 bytes, u32 *pseudo, u8 **end) {
  u8 *ip = frame + ETH_HLEN, *l4 = ip + ((ip[0] & 15) << 2);
  if (bytes < ETH_HLEN + 28 || ld16(frame + 12) != htons(ETH_P_IP) || (ld16(ip + 6) & 0xff3f) != 0) return NULL;
  u32 proto = ip[9], total = be16(ip + 2), at = proto == PROTO_TCP ? 16 : 6;
  *end = ip + total;
  if ((proto != PROTO_TCP && proto != PROTO_UDP) || *end > frame + bytes || l4 + at + 2 > *end) return NULL;
  u64 sum = (u64)ld32(ip + 12) + ld32(ip + 16) + htons((u16)proto) + htons((u16)(*end - l4));
  *pseudo = fold((u32)(sum >> 16) + (u32)(sum & 0xffff));
  return l4 + at;
}

/* A sender on the same host left the sum to hardware that there is none of: the field holds the pseudo header's. */
static __attribute__((noinline)) void complete_sum(u8 *frame, u8 *field, u8 *end) {
  u8 *at = frame + ETH_HLEN + ((frame[ETH_HLEN] & 15) << 2);
  int udp = frame[ETH_HLEN + 9] == PROTO_UDP;
  u64 sum = 0;
  for (; at + 1 < end; at += 2) sum += ld16(at);
  if (at < end) sum += *at;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  u16 becomes = (u16)~sum;
  st16(field, becomes == 0 && udp ? 0xffff : becomes);
}
#endif
