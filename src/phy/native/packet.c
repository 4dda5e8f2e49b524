/*
 * AF_PACKET sockets with TPACKET_V2 rings, for `phy/packet.ts`. The rings of all devices are mapped into one stretch of memory, which
 * JavaScript has as one ArrayBuffer: frames are read and rewritten where the kernel put them. Only batches cross this border: what
 * has come is written into the caller's columns by one call, what is to leave is taken from a list of offsets by another.
 *
 * What leaves waits in slots of ours, behind the ring, for a call that sends many. From a TX ring the kernel would send pages, which
 * whoever receives within the same machine copies into pages of his own: a frame of 64 bytes over veth took the box 12 % longer.
 *
 * One thread. What is shared with the kernel are the status words of the slots, and nothing else is ordered by anything else.
 */
#include "driver.h"
#include "checksum.h"
#include "joined.h"
#include "segment.h"
#include "tag.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <sys/mman.h>
#include <sys/socket.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
#endif

enum { BLOCK_BYTES = 1 << 16, SEGMENT_DATA = 64, AT_ONCE = 64 };

/* A frame that waits to be sent, at the start of its slot. */
struct leaving { uint32_t bytes; uint8_t frame[]; };

struct device {
  int fd;                         /* -1: closed */
  int number;
  uint8_t *pool, *rx, *tx, *cut;  /* `tx`, `cut`: slots for what leaves, and for segments, which are not the kernel's */
  napi_ref pool_reference;
  size_t mapped;
  uint32_t slot_bytes, rx_slots, tx_slots, cut_slots;
  uint32_t head, tail;            /* of the RX ring: next to look at, first that is not given back */
  uint32_t tx_head, tx_tail;      /* of the slots for what leaves: next, first that waits; from 0 on whenever none does */
  uint32_t most_bytes;            /* of a frame that the link takes, without its tag */
  uint32_t vlan;                  /* 0: none */
  struct joined_queue queue;
  struct joined joined;           /* that is cut now */
  uint32_t cut_head;              /* slots that hold segments */
  int is_cutting;                 /* it has segments that found no room */
  int32_t *kept;                  /* tail, in memory that outlives this process; or NULL */
  napi_ref kept_reference;
  struct shared shared;
  struct waker waker;
};
static struct device devices[MOST_DEVICES];

/* That whose number is the only argument. */
static struct device *device_of(napi_env env, napi_callback_info info) { return &devices[only_argument(env, info)]; }

/* socket(name, slotBytes, rxSlots): one that has a ring, is bound, and receives nothing yet; its descriptor. */

static int attach_filter(int fd, struct sock_filter *code, size_t count) {
  struct sock_fprog program = { .len = count, .filter = code };
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ? errno : 0;
}

static int filter(int fd, int isOpen) {
  /* Frames that are not for this box, when somebody has made the interface promiscuous, and those that it sends itself. */
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, PACKET_MULTICAST, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0),
    BPF_STMT(BPF_RET | BPF_K, isOpen ? WHOLE : 0),
  };
  return attach_filter(fd, code, sizeof code / sizeof *code);
}

/*
 * The same for a VLAN: its frames; none of the VLAN `other`, which has a socket of its own, or 0; and of all else as much as is
 * counted, or nothing if another socket does that.
 */
static int filter_vlan(int fd, uint32_t vlan, uint32_t other, int counts) {
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, PACKET_MULTICAST, 10, 0),
    LOAD_TAG_OR_SKIP(3),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, vlan, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, WHOLE),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, other == 0 ? NO_VLAN : other, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, counts ? COUNTED : 0),
    BPF_STMT(BPF_RET | BPF_K, 0),
  };
  return attach_filter(fd, code, sizeof code / sizeof *code);
}

/* With every group, from the interface that has that name now. */
static int bind_to(int fd, const char *name, const char **what) {
  struct ifreq ask = { 0 };
  *what = "no such interface";
  int failed = control(name, SIOCGIFINDEX, &ask);
  if (failed != 0) return failed;
  int index = ask.ifr_ifindex;
  struct packet_mreq all = { .mr_ifindex = index, .mr_type = PACKET_MR_ALLMULTI };
  *what = "PACKET_ADD_MEMBERSHIP";
  if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) < 0) return errno;
  struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index };
  *what = "bind";
  return bind(fd, (struct sockaddr *)&to, sizeof to) < 0 ? errno : 0;
}

static int open_socket(int fd, struct tpacket_req *rx, const char *name, const char **what) {
  int version = TPACKET_V2, yes = 1, failed;
  *what = "TPACKET_V2";
  if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) < 0) return errno;
  /* The filter does the same where the kernel is too old. */
  setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes);
  setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof yes);
  *what = "PACKET_RX_RING";
  if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, rx, sizeof *rx) < 0) return errno;
  *what = "SO_ATTACH_FILTER";
  if ((failed = filter(fd, 0)) != 0) return failed;
  return bind_to(fd, name, what);
}

static napi_value socket_of(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value a[3];
  char name[IFNAMSIZ] = "";
  const char *what = "socket";
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  if (read_name(env, a[0], name) != 0) return fail(env, "no such interface", ENODEV);
  uint32_t slot = int_of(env, a[1]), rx_slots = int_of(env, a[2]);
  struct tpacket_req rx = {
    .tp_block_size = BLOCK_BYTES, .tp_frame_size = slot, .tp_frame_nr = rx_slots,
    .tp_block_nr = (uint64_t)rx_slots * slot / BLOCK_BYTES,
  };
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int failed = fd < 0 ? errno : open_socket(fd, &rx, name, &what);
  if (failed == 0) return number_of(env, fd);
  if (fd >= 0) close(fd);
  return fail(env, what, failed);
}

/* admit(socket, vlan, other, counts): frames come from now on, of a VLAN if it is not 0: see `filter_vlan`. */
static napi_value admit(napi_env env, napi_callback_info info) {
  size_t count = 4;
  napi_value a[4];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  int fd = int_of(env, a[0]), vlan = int_of(env, a[1]);
  int failed = vlan == 0 ? filter(fd, 1) : filter_vlan(fd, vlan, int_of(env, a[2]), int_of(env, a[3]));
  return failed == 0 ? NULL : fail(env, "SO_ATTACH_FILTER", failed);
}

/* fanout(sockets, program): each frame goes to the socket of which the program, words of struct sock_filter, says the number. */

static napi_value fanout(napi_env env, napi_callback_info info) {
  size_t count = 2, words = 0, sockets = 0;
  napi_value a[2];
  int32_t *fds;
  void *program;
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  napi_get_typedarray_info(env, a[0], NULL, &sockets, (void **)&fds, NULL, NULL);
  napi_get_typedarray_info(env, a[1], NULL, &words, &program, NULL, NULL);
  struct sock_fprog code = { .len = words / 2, .filter = program };
  /* The kernel chooses a number that no other group of this name space has. */
  uint32_t group = (PACKET_FANOUT_CBPF | PACKET_FANOUT_FLAG_UNIQUEID | PACKET_FANOUT_FLAG_IGNORE_OUTGOING) << 16;
  for (size_t i = 0; i < sockets; i++) {
    int failed = setsockopt(fds[i], SOL_PACKET, PACKET_FANOUT, &group, sizeof group);
    if (failed < 0 && errno == EINVAL && i == 0) {
      group &= ~((uint32_t)PACKET_FANOUT_FLAG_IGNORE_OUTGOING << 16);
      failed = setsockopt(fds[i], SOL_PACKET, PACKET_FANOUT, &group, sizeof group);
    }
    if (failed < 0) return fail(env, "PACKET_FANOUT", errno);
    if (i > 0) continue;
    socklen_t length = sizeof group;
    uint32_t flags = group & 0xffff0000u & ~((uint32_t)PACKET_FANOUT_FLAG_UNIQUEID << 16);
    if (getsockopt(fds[i], SOL_PACKET, PACKET_FANOUT, &group, &length) < 0) return fail(env, "PACKET_FANOUT", errno);
    group = (group & 0xffff) | flags;
    if (setsockopt(fds[i], SOL_PACKET, PACKET_FANOUT_DATA, &code, sizeof code) < 0) return fail(env, "PACKET_FANOUT_DATA", errno);
  }
  return NULL;
}

/*
 * open(number, buffer, at, name, socket, slotBytes, rxSlots, txSlots, cutSlots, columns, outbox, counters, kept, vlan): maps the ring of
 * a socket. If somebody had them before, `kept` says how far he came; null: nobody did, and nobody will. Only then joined frames are
 * cut: a queue of them has those of all sockets.
 */

static int map_ring(struct device *d, uint8_t *at, const char *name, const char **what) {
  struct ifreq ask = { 0 };
  *what = "SIOCGIFMTU";
  int failed = control(name, SIOCGIFMTU, &ask);
  if (failed != 0) return failed;
  /* Slots were chosen for an MTU that may have grown since. */
  uint32_t linked = ask.ifr_mtu + ETH_HLEN, room = d->slot_bytes - SEGMENT_DATA;
  d->most_bytes = linked < room ? linked : room;
  d->mapped = (size_t)d->rx_slots * d->slot_bytes;
  /* What is not mapped now has no memory any more: see `unmap`. */
  d->rx = at;
  d->tx = at + d->mapped;
  d->cut = d->tx + (size_t)d->tx_slots * d->slot_bytes;
  *what = "mmap";
  return mmap(at, d->mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, d->fd, 0) == MAP_FAILED ? errno : 0;
}

static struct tpacket2_hdr *slot_of(uint8_t *ring, uint32_t number, uint32_t slots, uint32_t bytes) {
  return (void *)(ring + (size_t)(number % slots) * bytes);
}

static int is_ours(struct device *d, uint32_t number) {
  struct tpacket2_hdr *slot = slot_of(d->rx, number, d->rx_slots, d->slot_bytes);
  return (__atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) != 0;
}

/* Goes on where the one before stopped, who may have done a slot and not said so. What waited is given back: it is old. */
static void resume(struct device *d) {
  d->tail = d->kept[0];
  if (!is_ours(d, d->tail) && is_ours(d, d->tail + 1)) d->tail++;
  for (uint32_t n = 0; n < d->rx_slots && is_ours(d, d->tail); n++, d->tail++) {
    struct tpacket2_hdr *slot = slot_of(d->rx, d->tail, d->rx_slots, d->slot_bytes);
    __atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
  }
  d->head = d->tail;
  d->kept[0] = d->tail;
}

/* Gives the memory back to the reserve, so that a frame that somebody still looks at is zeros and no fault. */
static void unmap(struct device *d) {
  if (d->rx != NULL) mmap(d->rx, d->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  d->rx = d->tx = NULL;
  close_joined_queue(&d->queue);
  if (d->fd >= 0) close(d->fd);
  d->fd = -1;
}

static napi_value open_device(napi_env env, napi_callback_info info) {
  size_t count = 14;
  napi_value a[14];
  napi_valuetype kind;
  char name[IFNAMSIZ] = "";
  void *pool = NULL;
  size_t bytes = 0;
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  int number = int_of(env, a[0]);
  int64_t at = 0;
  napi_get_arraybuffer_info(env, a[1], &pool, &bytes);
  napi_get_value_int64(env, a[2], &at);
  int fd = int_of(env, a[4]);
  if (number < 0 || number >= MOST_DEVICES || devices[number].fd >= 0) {
    close(fd);
    return fail(env, "open", EINVAL);
  }
  struct device *d = &devices[number];
  memset(d, 0, sizeof *d);
  d->fd = fd;
  d->queue.fd = -1;
  d->number = number;
  d->pool = pool;
  d->slot_bytes = int_of(env, a[5]);
  d->rx_slots = int_of(env, a[6]);
  d->tx_slots = int_of(env, a[7]);
  d->cut_slots = int_of(env, a[8]);
  d->vlan = int_of(env, a[13]);
  uint64_t slots = (uint64_t)d->rx_slots + d->tx_slots + d->cut_slots;
  const char *what = "open";
  int is_kept = napi_typeof(env, a[12], &kind) == napi_ok && kind == napi_object;
  int failed = pool == NULL || at < 0 || at + (int64_t)(slots * d->slot_bytes) > (int64_t)bytes ? EINVAL : read_name(env, a[3], name);
  if (failed == 0) failed = map_ring(d, d->pool + at, name, &what);
  if (failed == 0 && !is_kept) failed = open_joined_queue(&d->queue, name, d->vlan, d->most_bytes, &what);
  if (failed != 0) {
    unmap(d);
    return fail(env, what, failed);
  }
  napi_create_reference(env, a[1], 1, &d->pool_reference);
  shared_open(env, &d->shared, a[9], a[10], a[11]);
  if (is_kept) {
    d->kept = array_of(env, a[12]);
    napi_create_reference(env, a[12], 1, &d->kept_reference);
    resume(d);
  }
  return NULL;
}

/* receive(number, from, most): rows from `from` on; returns how many. Frames stay where they are until `release`. */

static inline void write_row(struct device *d, int32_t row, const uint8_t *frame, uint32_t bytes) {
  int32_t **columns = d->shared.columns;
  columns[COLUMN_OFF][row] = frame - d->pool;
  columns[COLUMN_CAPTURED][row] = columns[COLUMN_WIRE][row] = bytes;
  columns[COLUMN_LINK][row] = 1;
  columns[COLUMN_INTERFACE][row] = d->number;
}

/* A frame that the device takes? If not, it is counted. The system has taken the tag off, wherever it was. */
static int is_mine(struct device *d, const struct tpacket2_hdr *slot, uint32_t status) {
  uint32_t type = (status & TP_STATUS_VLAN_VALID) == 0 ? 0 : (status & TP_STATUS_VLAN_TPID_VALID) != 0 ? slot->tp_vlan_tpid : ETH_P_8021Q;
  int refused = refusal_of(type, slot->tp_vlan_tci, d->vlan);
  if (refused == 0) return 1;
  d->shared.counters[refused]++;
  return 0;
}

/* Finds a frame that is too long for the link, to be cut. */
static void begin_cut(struct device *d, const struct tpacket2_hdr *slot) {
  double *counters = d->shared.counters;
  struct staged *whole;
  if (d->queue.fd < 0) {
    counters[OVERSIZED]++;
    return;
  }
  switch (take_joined(&d->queue, (const uint8_t *)slot + slot->tp_mac, slot->tp_snaplen, slot->tp_len, d->head, &whole)) {
    case FOUND:
      d->is_cutting = open_joined(&d->joined, whole->frame, whole->bytes, &whole->header, d->most_bytes);
      counters[d->is_cutting ? SEGMENTED : OVERSIZED]++;
      break;
    case NOT_NAMED: counters[OVERSIZED]++; break;
    default: counters[UNSEGMENTED]++;
  }
}

/* Writes rows of segments while there is room for them; returns the next row. What is left waits for the next call. */
static int32_t cut(struct device *d, int32_t row, int32_t end) {
  for (; row < end && d->cut_head < d->cut_slots; row++) {
    uint8_t *frame = d->cut + (size_t)d->cut_head * d->slot_bytes + SEGMENT_DATA;
    uint32_t bytes = next_segment(&d->joined, frame);
    if (bytes == 0) {
      d->is_cutting = 0;
      break;
    }
    d->cut_head++;
    write_row(d, row, frame, bytes);
    d->shared.counters[RECEIVED_BYTES] += bytes;
  }
  return row;
}

static napi_value receive(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value a[3];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct device *d = &devices[int_of(env, a[0])];
  int32_t row = int_of(env, a[1]), first = row, end = row + int_of(env, a[2]);
  if (d->fd < 0) return number_of(env, 0);
  double *counters = d->shared.counters;
  double bytes = 0;
  if (d->is_cutting) row = cut(d, row, end);
  while (row < end && !d->is_cutting && d->head - d->tail < d->rx_slots) {
    struct tpacket2_hdr *slot = (void *)(d->rx + (size_t)(d->head % d->rx_slots) * d->slot_bytes);
    uint32_t status = __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);
    if ((status & TP_STATUS_USER) == 0) {
      if (d->queue.count > 0) settle_joined(&d->queue, d->head, &slot->tp_status);
      break;
    }
    d->head++;
    if (((status & TP_STATUS_VLAN_VALID) != 0 || d->vlan != 0) && !is_mine(d, slot, status)) continue;
    if (slot->tp_len > d->most_bytes || slot->tp_snaplen < slot->tp_len) {
      begin_cut(d, slot);
      if (d->is_cutting) row = cut(d, row, end);
      continue;
    }
    uint8_t *frame = (uint8_t *)slot + slot->tp_mac;
    struct checksummed c;
    if ((status & TP_STATUS_CSUMNOTREADY) != 0 && find_checksum(frame, slot->tp_snaplen, &c)) {
      complete(&c);
      counters[COMPLETED]++;
    }
    write_row(d, row, frame, slot->tp_len);
    bytes += slot->tp_len;
    row++;
  }
  counters[RECEIVED] += row - first;
  counters[RECEIVED_BYTES] += bytes;
  return number_of(env, row - first);
}

/* What is left of a frame that was joined waits too; and so do frames of the queue of those, for a ring that is empty. */
uint32_t packets_waiting(void) {
  uint32_t found = 0;
  for (int i = 0; i < MOST_DEVICES; i++) {
    struct device *d = &devices[i];
    if (d->fd >= 0 && (d->is_cutting || d->queue.count > 0 || is_ours(d, d->head))) found |= 1u << i;
  }
  return found;
}

/* release(number): gives every slot back that was looked at. In order, or the kernel would come round to one too early. */
static napi_value release(napi_env env, napi_callback_info info) {
  struct device *d = device_of(env, info);
  if (d->fd < 0) return NULL;
  d->cut_head = 0;
  for (; d->tail != d->head; d->tail++) {
    struct tpacket2_hdr *slot = (void *)(d->rx + (size_t)(d->tail % d->rx_slots) * d->slot_bytes);
    __atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    if (d->kept != NULL) d->kept[0] = d->tail + 1;
  }
  return NULL;
}

/* stage(number, count): copies frames of the outbox into slots. kick(number, count): does that too, and has the kernel send them; 0, or what failed. */

static struct leaving *leaving_of(struct device *d, uint32_t number) {
  return (void *)(d->tx + (size_t)(number % d->tx_slots) * d->slot_bytes);
}

/* What an interface could not send for want of room, or as it is down, waits. */
static int kick_now(struct device *d) {
  static struct mmsghdr messages[AT_ONCE];
  static struct iovec parts[AT_ONCE];
  while (d->tx_tail != d->tx_head) {
    uint32_t count = d->tx_head - d->tx_tail;
    if (count > AT_ONCE) count = AT_ONCE;
    for (uint32_t i = 0; i < count; i++) {
      struct leaving *one = leaving_of(d, d->tx_tail + i);
      parts[i] = (struct iovec){ one->frame, one->bytes };
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    int sent = sendmmsg(d->fd, messages, count, MSG_DONTWAIT);
    if (sent > 0) {
      d->tx_tail += sent;
      continue;
    }
    int failed = errno;
    if (failed == EAGAIN || failed == ENOBUFS) return failed;
    d->shared.counters[SEND_ERRORS]++;
    if (failed == ENETDOWN || failed == ENXIO || failed == ENODEV) return failed;
    /* It is about this frame. */
    d->tx_tail++;
  }
  d->tx_head = d->tx_tail = 0;
  return 0;
}

static int is_full(const struct device *d) { return d->tx_head - d->tx_tail == d->tx_slots; }

static void stage_frames(struct device *d, int32_t frames) {
  double all = 0;
  for (int32_t i = 0; i < frames; i++) {
    uint32_t bytes = d->shared.outbox[2 * i + 1];
    if (is_full(d)) kick_now(d);
    if (is_full(d) || bytes > d->slot_bytes - sizeof(struct leaving) - TAG_BYTES) {
      d->shared.counters[SEND_DROPS]++;
      continue;
    }
    struct leaving *to = leaving_of(d, d->tx_head);
    const uint8_t *frame = d->pool + d->shared.outbox[2 * i];
    if (d->vlan == 0) memcpy(to->frame, frame, bytes);
    else copy_tagged(to->frame, frame, bytes, d->vlan);
    to->bytes = d->vlan == 0 ? bytes : bytes + TAG_BYTES;
    d->tx_head++;
    d->shared.counters[SENT]++;
    all += bytes;
  }
  d->shared.counters[SENT_BYTES] += all;
}

static napi_value stage(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value a[2];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct device *d = &devices[int_of(env, a[0])];
  if (d->fd >= 0) stage_frames(d, int_of(env, a[1]));
  return NULL;
}

static napi_value kick(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value a[2];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct device *d = &devices[int_of(env, a[0])];
  if (d->fd < 0) return number_of(env, 0);
  stage_frames(d, int_of(env, a[1]));
  return number_of(env, kick_now(d));
}

/* statistics(number): brings RING_DROPS up to date. failure(number): the pending error of the socket, as a text, or undefined. */

static napi_value statistics(napi_env env, napi_callback_info info) {
  struct device *d = device_of(env, info);
  struct tpacket_stats stats;
  socklen_t bytes = sizeof stats;
  if (d->fd >= 0 && getsockopt(d->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &bytes) == 0) d->shared.counters[RING_DROPS] += stats.tp_drops;
  return NULL;
}

static napi_value failure(napi_env env, napi_callback_info info) {
  napi_value text = NULL;
  struct device *d = device_of(env, info);
  int failed = 0;
  socklen_t bytes = sizeof failed;
  if (d->fd < 0 || getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &failed, &bytes) < 0 || failed == 0) return NULL;
  const char *said = strerror(failed);
  napi_create_string_utf8(env, said, NAPI_AUTO_LENGTH, &text);
  return text;
}

/*
 * isRemoved(number): 1 if the interface is no more. rebind(number, name): goes on with that which has the name now. Neither takes a
 * privilege; but the kernel binds no socket anew that shares an interface with others (fanout).
 */

static napi_value is_removed(napi_env env, napi_callback_info info) {
  struct device *d = device_of(env, info);
  struct sockaddr_ll at = { 0 };
  socklen_t bytes = sizeof at;
  return number_of(env, d->fd >= 0 && getsockname(d->fd, (struct sockaddr *)&at, &bytes) == 0 && at.sll_ifindex < 0);
}

static napi_value rebind(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value a[2];
  char name[IFNAMSIZ] = "";
  const char *what = "no such interface";
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct device *d = &devices[int_of(env, a[0])];
  if (d->fd < 0) return fail(env, "rebind", EINVAL);
  int failed = read_name(env, a[1], name), pending;
  socklen_t bytes = sizeof pending;
  /* What waited to be sent comes from an Ethernet address that is no more. */
  d->shared.counters[SEND_ERRORS] += d->tx_head - d->tx_tail;
  d->tx_head = d->tx_tail = 0;
  /* That the one before is gone is known. */
  getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &pending, &bytes);
  if (failed == 0) failed = bind_to(d->fd, name, &what);
  if (failed != 0) return fail(env, what, failed);
  rebind_joined_queue(&d->queue, name);
  return NULL;
}

/* watch(number, wake), arm(number), disarm(number), close(number). */

static napi_value watch(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value a[2];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct device *d = &devices[int_of(env, a[0])];
  return waker_open(env, &d->waker, &d->fd, 1, a[1]);
}

static napi_value arm(napi_env env, napi_callback_info info) {
  waker_arm(&device_of(env, info)->waker);
  return NULL;
}

static napi_value disarm(napi_env env, napi_callback_info info) {
  waker_disarm(&device_of(env, info)->waker);
  return NULL;
}

static napi_value close_device(napi_env env, napi_callback_info info) {
  struct device *d = device_of(env, info);
  if (d->fd < 0) return NULL;
  waker_close(&d->waker);
  shared_close(env, &d->shared);
  if (d->kept != NULL) napi_delete_reference(env, d->kept_reference);
  unmap(d);
  napi_delete_reference(env, d->pool_reference);
  return NULL;
}

/*
 * segments(joined, header, mostBytes, into, slotBytes, lengths): for tests: cuts a frame as `receive` does, by the octets of its
 * virtio_net_hdr, into slots of `into`. How many; -1: it cannot be cut.
 */
static napi_value segments(napi_env env, napi_callback_info info) {
  size_t count = 6, bytes = 0;
  napi_value a[6];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  void *frame = NULL;
  napi_get_typedarray_info(env, a[0], NULL, &bytes, &frame, NULL, NULL);
  struct virtio_net_hdr header;
  memcpy(&header, array_of(env, a[1]), sizeof header);
  uint8_t *into = array_of(env, a[3]);
  int32_t *lengths = array_of(env, a[5]), slot_bytes = int_of(env, a[4]), n = 0;
  struct joined j;
  if (!open_joined(&j, frame, bytes, &header, int_of(env, a[2]))) return number_of(env, -1);
  while ((lengths[n] = next_segment(&j, into + (size_t)n * slot_bytes)) > 0) n++;
  return number_of(env, n);
}

void add_packet(napi_env env, napi_value exports) {
  static const struct function functions[] = {
    { "open", open_device }, { "receive", receive }, { "release", release }, { "stage", stage }, { "kick", kick },
    { "statistics", statistics }, { "failure", failure }, { "watch", watch }, { "arm", arm }, { "disarm", disarm },
    { "close", close_device }, { "socket", socket_of }, { "admit", admit }, { "fanout", fanout },
    { "segments", segments }, { "isRemoved", is_removed }, { "rebind", rebind },
  };
  for (int i = 0; i < MOST_DEVICES; i++) devices[i].fd = -1;
  add_functions(env, exports, functions, sizeof functions / sizeof *functions);
}
