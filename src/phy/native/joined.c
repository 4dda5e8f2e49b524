/* The queue of joined frames: see joined.h. */
#define _GNU_SOURCE
#include "joined.h"
#include "tag.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

/* A frame is looked for among what was read, and so many more: if the queue had no room for it, those behind it are not lost. */
enum { AHEAD = 2, QUEUE_BYTES = 4 << 20, DISCARDED_AT_ONCE = 256 };

int open_joined_queue(struct joined_queue *q, const char *name, uint32_t vlan, uint32_t most_bytes, const char **what) {
  memset(q, 0, sizeof *q);
  q->fd = -1;
  *what = "no such interface";
  q->index = if_nametoindex(name);
  if (q->index == 0) return errno;
  *what = "socket";
  q->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (q->fd < 0) return errno;
  int yes = 1, bytes = QUEUE_BYTES;
  *what = "PACKET_VNET_HDR";
  if (setsockopt(q->fd, SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof yes) < 0) return errno;
  setsockopt(q->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes);
  /* Without CAP_NET_ADMIN, no more than net.core.rmem_max. */
  if (setsockopt(q->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0) {
    setsockopt(q->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  /* Of the frames that the ring takes, those that are too long for the link, and of no VLAN, or of this one. */
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, most_bytes, 0, 5),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, PACKET_MULTICAST, 3, 0),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG)),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0xfff, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, WHOLE),
    BPF_STMT(BPF_RET | BPF_K, 0),
  }, code_of_vlan[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, most_bytes, 0, 10),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, PACKET_MULTICAST, 8, 0),
    LOAD_TAG_OR_SKIP(2),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, vlan, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, WHOLE),
    BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_fprog filter = { .len = sizeof code / sizeof *code, .filter = code };
  if (vlan != 0) filter = (struct sock_fprog){ .len = sizeof code_of_vlan / sizeof *code_of_vlan, .filter = code_of_vlan };
  *what = "SO_ATTACH_FILTER";
  return setsockopt(q->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0 ? errno : 0;
}

void close_joined_queue(struct joined_queue *q) {
  if (q->fd >= 0) close(q->fd);
  free(q->memory);
  memset(q, 0, sizeof *q);
  q->fd = -1;
}

/* Has frames come here from now on. Bound after the ring, it has each frame before the ring has. */
static void bind_queue(struct joined_queue *q) {
  struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = q->index };
  if (q->memory == NULL) q->memory = malloc(MOST_STAGED * sizeof *q->memory);
  if (q->memory == NULL || bind(q->fd, (struct sockaddr *)&to, sizeof to) < 0) return;
  for (int i = 0; i < MOST_STAGED; i++) q->staged[i] = &q->memory[i];
  q->is_bound = 1;
}

void rebind_joined_queue(struct joined_queue *q, const char *name) {
  int was_bound = q->is_bound, pending;
  socklen_t bytes = sizeof pending;
  if (q->fd < 0) return;
  getsockopt(q->fd, SOL_SOCKET, SO_ERROR, &pending, &bytes);
  q->index = if_nametoindex(name);
  q->is_bound = 0;
  if (was_bound) bind_queue(q);
}

/* 0: none waits. 1: it is the next of those that were read. -1: it was there, and could not be read, or the socket had an error. */
static int read_one(struct joined_queue *q, uint32_t head) {
  struct staged *s = q->staged[q->count];
  struct iovec parts[] = { { &s->header, sizeof s->header }, { s->frame, sizeof s->frame } };
  struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
  ssize_t bytes = recvmsg(q->fd, &message, MSG_DONTWAIT | MSG_TRUNC);
  if (bytes < 0 && errno == EAGAIN) return 0;
  if ((bytes < 0 && errno == EINVAL) || bytes > (ssize_t)(sizeof s->header + sizeof s->frame)) q->unnamed++;
  if (bytes < (ssize_t)sizeof s->header || bytes > (ssize_t)(sizeof s->header + sizeof s->frame)) return -1;
  s->bytes = bytes - sizeof s->header;
  s->head = head;
  q->count++;
  return 1;
}

/* Returns how many are left. */
static uint32_t drop_first(struct joined_queue *q) {
  struct staged *first = q->staged[0];
  memmove(&q->staged[0], &q->staged[1], --q->count * sizeof *q->staged);
  q->staged[q->count] = first;
  return q->count;
}

int take_joined(struct joined_queue *q, const uint8_t *begin, uint32_t held, uint32_t bytes, uint32_t head, struct staged **found) {
  if (!q->is_bound) {
    bind_queue(q);
    return NOT_THERE;
  }
  uint32_t i = 0;
  for (int ahead = AHEAD; ; i++) {
    if (i == q->count) {
      if (ahead-- == 0) break;
      /* Of so many the first is in no ring, or a full ring under load would be the end of cutting. */
      if (q->count == MOST_STAGED) i = drop_first(q);
      int read = read_one(q, head);
      if (read == 0) break;
      if (read < 0) {
        i--;
        continue;
      }
    }
    struct staged *s = q->staged[i];
    if (s->bytes == bytes && memcmp(s->frame, begin, held < bytes ? held : bytes) == 0) {
      memmove(&q->staged[i], &q->staged[i + 1], (--q->count - i) * sizeof *q->staged);
      q->staged[q->count] = *found = s;
      return FOUND;
    }
  }
  if (q->unnamed == 0) return NOT_THERE;
  q->unnamed--;
  return NOT_NAMED;
}

void settle_joined(struct joined_queue *q, uint32_t head, const uint32_t *status) {
  if (q->count == 0 || q->staged[0]->head == head) return;
  q->count = q->unnamed = 0;
  uint8_t byte;
  for (int i = 0; i < DISCARDED_AT_ONCE && (__atomic_load_n(status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) == 0; i++) {
    if (recv(q->fd, &byte, sizeof byte, MSG_DONTWAIT) < 0 && errno == EAGAIN) return;
  }
}
