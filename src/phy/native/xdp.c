/*
 * AF_XDP sockets over one UMEM, for `phy/xdp.ts`. The UMEM is a stretch of the pool of frames: a frame of either interface is read and
 * rewritten where the kernel put it, and sent from there by the other interface, without a copy of ours. Raw system calls; only
 * batches cross this border, as with packet.c.
 *
 * A chunk of the UMEM has one owner at any time: the free list, the kernel as room for frames (fill ring to RX ring), JavaScript
 * between `receive` and `release`, or the kernel as a frame to send (TX ring to completion ring). `lent` and `sent` count what a queue
 * has given to the kernel, so that all together are the chunks that there are, always. No ring can overflow: a queue lends no more
 * than its RX ring holds, and sends no more than its completion ring holds.
 *
 * One thread. Shared with the kernel are the indices of the rings: ours are released after the entries, its acquired before them.
 */
#include "driver.h"
#include "checksum.h"
#include "program.h"
#include "tag.h"
#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#ifndef XDP_USE_NEED_WAKEUP
/* Headers before Linux 5.4: phy/xdp.ts says so. */
void add_xdp(napi_env env, napi_value exports) { (void)env; (void)exports; }
uint32_t xdp_waiting(void) { return 0; }
#else

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9
#endif

enum { MOST_QUEUES = MOST_POLLS, SEND_BUFFER_BYTES = 8 << 20, AHEAD = 4 };
/* Sent with a tag, its addresses lie where that has moved them to. */
enum { FREE, LENT, HELD, SENT_AWAY, SENT_TAGGED };

struct ring {
  uint32_t *producer, *consumer, *flags;
  void *entries;
  uint32_t mask, ours, theirs;    /* indices: what we have written last, and read last */
  void *map;
  size_t bytes;
};

struct queue {
  int fd;
  struct ring rx, tx, fill, done;
  uint32_t lent, sent;
};

struct device {
  int number, is_zero_copy;
  uint32_t queue_count, rx_slots, tx_slots, next;
  struct queue queues[MOST_QUEUES];
  struct attached program;
  int index;
  uint32_t vlan;                  /* 0: none */
  uint32_t *held, held_count;     /* chunks that `receive` has given */
  uint64_t drops;
  struct shared shared;
  struct waker waker;
};
static struct device devices[MOST_DEVICES];

static struct {
  uint8_t *pool, *memory, *state, *home;
  uint32_t chunk_bytes, chunks, free_count, *free;
  napi_ref reference;             /* to the pool */
  int fd;                         /* the socket that has registered it; -1: none */
} umem = { .fd = -1 };

static struct device *device_of(napi_env env, napi_callback_info info) { return &devices[only_argument(env, info)]; }

/* Rings. */

static int map_ring(struct ring *r, int fd, uint64_t at, const struct xdp_ring_offset *offsets, uint32_t slots, size_t entry) {
  r->bytes = offsets->desc + slots * entry;
  r->map = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, at);
  if (r->map == MAP_FAILED) {
    r->map = NULL;
    return errno;
  }
  uint8_t *base = r->map;
  r->producer = (void *)(base + offsets->producer);
  r->consumer = (void *)(base + offsets->consumer);
  r->flags = (void *)(base + offsets->flags);
  r->entries = base + offsets->desc;
  r->mask = slots - 1;
  return 0;
}

/* Entries of a ring that the kernel produces. */
static inline uint32_t waiting(struct ring *r) {
  r->theirs = __atomic_load_n(r->producer, __ATOMIC_ACQUIRE);
  return r->theirs - r->ours;
}

static inline void consumed(struct ring *r, uint32_t count) {
  r->ours += count;
  __atomic_store_n(r->consumer, r->ours, __ATOMIC_RELEASE);
}

static inline void produced(struct ring *r) { __atomic_store_n(r->producer, r->ours, __ATOMIC_RELEASE); }

/* Of a ring that the kernel consumes: does it still have entries? */
static inline int is_behind(struct ring *r) {
  r->theirs = __atomic_load_n(r->consumer, __ATOMIC_ACQUIRE);
  return r->theirs != r->ours;
}

static inline int needs_wakeup(const struct ring *r) { return __atomic_load_n(r->flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP; }

/* Chunks. */

static inline void give_back(uint32_t chunk) {
  umem.state[chunk] = FREE;
  umem.free[umem.free_count++] = chunk;
}

/* As much room as the RX ring can take. */
static void lend(struct device *d, struct queue *q) {
  uint32_t count = d->rx_slots - q->lent;
  if (count > umem.free_count) count = umem.free_count;
  if (count == 0) return;
  uint64_t *entries = q->fill.entries;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t chunk = umem.free[--umem.free_count];
    umem.state[chunk] = LENT;
    entries[q->fill.ours++ & q->fill.mask] = (uint64_t)chunk * umem.chunk_bytes;
  }
  q->lent += count;
  produced(&q->fill);
  if (needs_wakeup(&q->fill)) recvfrom(q->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

/* Frames that have left. */
static void reap(struct queue *q) {
  uint32_t count = waiting(&q->done);
  if (count == 0) return;
  const uint64_t *entries = q->done.entries;
  for (uint32_t i = 0; i < count; i++) give_back(entries[(q->done.ours + i) & q->done.mask] / umem.chunk_bytes);
  consumed(&q->done, count);
  q->sent -= count;
}

/* umem(buffer, at, chunkBytes, chunks): where frames of all devices will lie. It goes with the last of them. */

static int is_in_use(void) {
  for (int i = 0; i < MOST_DEVICES; i++) if (devices[i].queue_count > 0) return 1;
  return 0;
}

static void forget_umem(napi_env env) {
  if (umem.reference != NULL) napi_delete_reference(env, umem.reference);
  free(umem.free);
  free(umem.state);
  free(umem.home);
  memset(&umem, 0, sizeof umem);
  umem.fd = -1;
}

static napi_value set_umem(napi_env env, napi_callback_info info) {
  size_t count = 4, bytes = 0;
  napi_value a[4];
  void *pool = NULL;
  int64_t at = 0;
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  napi_get_arraybuffer_info(env, a[0], &pool, &bytes);
  napi_get_value_int64(env, a[1], &at);
  int64_t chunk_bytes = int_of(env, a[2]), chunks = int_of(env, a[3]);
  if (is_in_use()) return fail(env, "umem", EBUSY);
  if (pool == NULL || at < 0 || chunk_bytes <= 0 || chunks <= 0 || at + chunk_bytes * chunks > (int64_t)bytes) return fail(env, "umem", EINVAL);
  forget_umem(env);
  umem.chunk_bytes = chunk_bytes;
  umem.chunks = chunks;
  umem.pool = pool;
  umem.memory = umem.pool + at;
  umem.free = malloc(umem.chunks * sizeof *umem.free);
  umem.state = calloc(umem.chunks, 1);
  umem.home = calloc(umem.chunks, 1);
  if (umem.free == NULL || umem.state == NULL || umem.home == NULL) {
    forget_umem(env);
    return fail(env, "umem", ENOMEM);
  }
  napi_create_reference(env, a[0], 1, &umem.reference);
  for (uint32_t i = umem.chunks; i-- > 0;) umem.free[umem.free_count++] = i;
  return NULL;
}

/* attach(number, index, queues, isGeneric, asksTag, mostBytes, mac, kernel4, kernel6, vlan): a program that takes frames for its sockets. */

static napi_value attach(napi_env env, napi_callback_info info) {
  size_t count = 10;
  napi_value a[10];
  static struct taken taken;
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  int number = int_of(env, a[0]);
  if (number < 0 || number >= MOST_DEVICES) return fail(env, "attach", EINVAL);
  struct device *d = &devices[number];
  if (d->queue_count > 0) return fail(env, "attach", EBUSY);
  memset(d, 0, sizeof *d);
  d->number = number;
  d->index = int_of(env, a[1]);
  for (int i = 0; i < MOST_QUEUES; i++) d->queues[i].fd = -1;
  int queues = int_of(env, a[2]);
  if (queues < 1 || queues > MOST_QUEUES || read_taken(env, a[6], a[7], a[8], a[9], &taken) != 0) return fail(env, "attach", EINVAL);
  d->vlan = taken.vlan;
  taken.index = d->index;
  taken.is_generic = int_of(env, a[3]);
  taken.asks_tag = int_of(env, a[4]);
  taken.most_bytes = int_of(env, a[5]);
  const char *what = "";
  int failed = attach_program(&d->program, &taken, queues, &what);
  if (failed != 0) {
    detach_program(&d->program);
    return fail(env, what, failed);
  }
  d->queue_count = queues;
  return NULL;
}

/* open(number, isCopy, rxSlots, txSlots, columns, outbox, counters): a socket for each queue. Returns 1 if frames are not copied. */

static int open_queue(struct device *d, struct queue *q, uint32_t number, int is_copy, const char **what) {
  *what = "socket";
  if ((q->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0) return errno;
  int is_first = umem.fd < 0;
  struct xdp_umem_reg region = {
    .addr = (uintptr_t)umem.memory, .len = (uint64_t)umem.chunk_bytes * umem.chunks, .chunk_size = umem.chunk_bytes,
  };
  *what = "XDP_UMEM_REG";
  if (is_first && setsockopt(q->fd, SOL_XDP, XDP_UMEM_REG, &region, sizeof region) < 0) return errno;
  const struct { int option; uint32_t slots; const char *name; } rings[] = {
    { XDP_UMEM_FILL_RING, d->rx_slots, "XDP_UMEM_FILL_RING" }, { XDP_UMEM_COMPLETION_RING, d->tx_slots, "XDP_UMEM_COMPLETION_RING" },
    { XDP_RX_RING, d->rx_slots, "XDP_RX_RING" }, { XDP_TX_RING, d->tx_slots, "XDP_TX_RING" },
  };
  for (int i = 0; i < 4; i++) {
    *what = rings[i].name;
    if (setsockopt(q->fd, SOL_XDP, rings[i].option, &rings[i].slots, sizeof rings[i].slots) < 0) return errno;
  }
  struct xdp_mmap_offsets offsets;
  socklen_t bytes = sizeof offsets;
  *what = "XDP_MMAP_OFFSETS";
  if (getsockopt(q->fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &bytes) < 0) return errno;
  /* Kernels before 5.4 know no flags. */
  if (bytes < sizeof offsets) return EOPNOTSUPP;
  int failed;
  *what = "mmap";
  if ((failed = map_ring(&q->rx, q->fd, XDP_PGOFF_RX_RING, &offsets.rx, d->rx_slots, sizeof(struct xdp_desc))) != 0
    || (failed = map_ring(&q->tx, q->fd, XDP_PGOFF_TX_RING, &offsets.tx, d->tx_slots, sizeof(struct xdp_desc))) != 0
    || (failed = map_ring(&q->fill, q->fd, XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, d->rx_slots, sizeof(uint64_t))) != 0
    || (failed = map_ring(&q->done, q->fd, XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr, d->tx_slots, sizeof(uint64_t))) != 0) {
    return failed;
  }
  /* So that one call sends them all: what else it does is to call again. */
  int budget = d->tx_slots, buffer = SEND_BUFFER_BYTES;
  setsockopt(q->fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof budget);
  setsockopt(q->fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
  lend(d, q);
  struct sockaddr_xdp to = { .sxdp_family = AF_XDP, .sxdp_ifindex = d->index, .sxdp_queue_id = number };
  if (is_first) to.sxdp_flags = XDP_USE_NEED_WAKEUP | (is_copy ? XDP_COPY : 0);
  else {
    to.sxdp_flags = XDP_SHARED_UMEM;
    to.sxdp_shared_umem_fd = umem.fd;
  }
  *what = "bind";
  if (bind(q->fd, (struct sockaddr *)&to, sizeof to) < 0) return errno;
  if (is_first) umem.fd = q->fd;
  struct xdp_options options = { 0 };
  bytes = sizeof options;
  if (getsockopt(q->fd, SOL_XDP, XDP_OPTIONS, &options, &bytes) == 0) d->is_zero_copy = (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
  *what = "BPF_MAP_UPDATE_ELEM";
  return attach_socket(&d->program, number, q->fd);
}

static void close_queue(struct queue *q) {
  struct ring *all[] = { &q->rx, &q->tx, &q->fill, &q->done };
  for (int i = 0; i < 4; i++) if (all[i]->map != NULL) munmap(all[i]->map, all[i]->bytes);
  if (q->fd >= 0) close(q->fd);
  if (umem.fd >= 0 && umem.fd == q->fd) umem.fd = -1;
  memset(q, 0, sizeof *q);
  q->fd = -1;
}

static void close_all(struct device *d) {
  detach_program(&d->program);
  for (uint32_t i = 0; i < d->queue_count; i++) close_queue(&d->queues[i]);
  free(d->held);
  d->held = NULL;
  d->queue_count = d->held_count = 0;
}

static napi_value open_device(napi_env env, napi_callback_info info) {
  size_t count = 7;
  napi_value a[7];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct device *d = &devices[int_of(env, a[0])];
  if (d->queue_count == 0 || d->held != NULL) return fail(env, "open", EINVAL);
  d->rx_slots = int_of(env, a[2]);
  d->tx_slots = int_of(env, a[3]);
  d->held = malloc(umem.chunks * sizeof *d->held);
  if (d->held == NULL) return fail(env, "open", ENOMEM);
  for (uint32_t i = 0; i < d->queue_count; i++) {
    const char *what = "";
    int failed = open_queue(d, &d->queues[i], i, int_of(env, a[1]), &what);
    if (failed != 0) return fail(env, what, failed);
  }
  shared_open(env, &d->shared, a[4], a[5], a[6]);
  return number_of(env, d->is_zero_copy);
}

/* receive(number, from, most): rows from `from` on; returns how many. Frames stay where they are until `release`. */

static int32_t receive_queue(struct device *d, struct queue *q, uint8_t home, int32_t row, int32_t end, double *bytes) {
  uint32_t count = waiting(&q->rx);
  if (count > (uint32_t)(end - row)) count = end - row;
  if (count == 0) return row;
  const struct xdp_desc *entries = q->rx.entries;
  int32_t **columns = d->shared.columns;
  uint32_t at = q->rx.ours, mask = q->rx.mask, completed = 0;
  for (uint32_t i = 0; i < count; i++, row++) {
    if (i + AHEAD < count) __builtin_prefetch(umem.memory + entries[(at + i + AHEAD) & mask].addr);
    const struct xdp_desc *entry = &entries[(at + i) & mask];
    uint32_t chunk = entry->addr / umem.chunk_bytes;
    uint8_t *frame = umem.memory + entry->addr;
    uint32_t length = entry->len;
    umem.state[chunk] = HELD;
    umem.home[chunk] = home;
    d->held[d->held_count++] = chunk;
    /* The program takes no other tag, and those beside frames are none of ours to take off. */
    if (d->vlan != 0 && frame[MAC_BYTES] == ETH_P_8021Q >> 8 && frame[MAC_BYTES + 1] == (ETH_P_8021Q & 255)) {
      memmove(frame + TAG_BYTES, frame, MAC_BYTES);
      frame += TAG_BYTES;
      length -= TAG_BYTES;
    }
    /* XDP does not say whether a checksum is complete, as veth and virtio leave it to us; but it shows. */
    struct checksummed c;
    if (find_checksum(frame, length, &c) && is_incomplete(&c)) {
      complete(&c);
      completed++;
    }
    columns[COLUMN_OFF][row] = frame - umem.pool;
    columns[COLUMN_CAPTURED][row] = columns[COLUMN_WIRE][row] = length;
    columns[COLUMN_LINK][row] = 1;
    columns[COLUMN_INTERFACE][row] = d->number;
    *bytes += length;
  }
  consumed(&q->rx, count);
  q->lent -= count;
  d->shared.counters[COMPLETED] += completed;
  return row;
}

static napi_value receive(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value a[3];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct device *d = &devices[int_of(env, a[0])];
  int32_t first = int_of(env, a[1]), row = first, end = first + int_of(env, a[2]);
  if (d->queue_count == 0) return number_of(env, 0);
  double bytes = 0;
  /* No queue starves the others. */
  for (uint32_t i = 0; i < d->queue_count && row < end; i++) {
    uint32_t home = (d->next + i) % d->queue_count;
    row = receive_queue(d, &d->queues[home], home, row, end, &bytes);
  }
  d->next++;
  d->shared.counters[RECEIVED] += row - first;
  d->shared.counters[RECEIVED_BYTES] += bytes;
  return number_of(env, row - first);
}

uint32_t xdp_waiting(void) {
  uint32_t found = 0;
  for (int i = 0; i < MOST_DEVICES; i++) {
    for (uint32_t k = 0; k < devices[i].queue_count; k++) if (waiting(&devices[i].queues[k].rx) > 0) found |= 1u << i;
  }
  return found;
}

/* release(number): frames that were not sent are free, and those that have left; the kernel gets room for as many again. */
static napi_value release(napi_env env, napi_callback_info info) {
  struct device *d = device_of(env, info);
  for (uint32_t i = 0; i < d->held_count; i++) if (umem.state[d->held[i]] == HELD) give_back(d->held[i]);
  d->held_count = 0;
  for (uint32_t i = 0; i < d->queue_count; i++) {
    reap(&d->queues[i]);
    lend(d, &d->queues[i]);
  }
  return NULL;
}

/*
 * stage(number, count): puts frames of the outbox into TX rings: those of the UMEM where they are, once; all others, and the same one a
 * second time, are copied into a chunk that is free. kick(number, count): does that too, and has the kernel send them; 0, or what failed.
 */

static int kick_queue(struct device *d, struct queue *q) {
  while (is_behind(&q->tx)) {
    uint32_t before = q->tx.theirs;
    /* The driver is at it already. */
    if (!needs_wakeup(&q->tx)) return 0;
    if (sendto(q->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0) {
      if (d->is_zero_copy) return 0;
      if (is_behind(&q->tx) && q->tx.theirs == before) return EAGAIN;
      continue;
    }
    int failed = errno;
    is_behind(&q->tx);
    /* EBUSY: the interface has thrown one away; EAGAIN: so many for one call. */
    if (failed != EAGAIN && failed != ENOBUFS) d->shared.counters[SEND_ERRORS]++;
    if (q->tx.theirs == before) return failed;
  }
  return 0;
}

static int has_slot(struct device *d, struct queue *q) {
  if (q->sent < d->tx_slots) return 1;
  reap(q);
  if (q->sent < d->tx_slots) return 1;
  kick_queue(d, q);
  reap(q);
  return q->sent < d->tx_slots;
}

static void stage_frames(struct device *d, int32_t frames) {
  double all = 0;
  uint32_t size = umem.chunks * umem.chunk_bytes, sent = 0;
  for (int32_t i = 0; i < frames; i++) {
    uint32_t bytes = d->shared.outbox[2 * i + 1];
    uint8_t *frame = umem.pool + d->shared.outbox[2 * i];
    size_t at = frame - umem.memory;
    uint32_t chunk = at / umem.chunk_bytes;
    int state = frame >= umem.memory && at < size ? umem.state[chunk] : FREE, is_ours = state == HELD;
    struct queue *q = &d->queues[is_ours ? umem.home[chunk] % d->queue_count : 0];
    uint32_t begin = is_ours ? at % umem.chunk_bytes : 0, tag = d->vlan == 0 ? 0 : TAG_BYTES;
    /* Behind the kernel's headroom a frame has room for a tag before it. */
    if (!has_slot(d, q) || begin + bytes > umem.chunk_bytes || (is_ours && begin < tag)
      || (!is_ours && (umem.free_count == 0 || bytes + tag > umem.chunk_bytes))) {
      d->shared.counters[SEND_DROPS]++;
      continue;
    }
    if (!is_ours) {
      chunk = umem.free[--umem.free_count];
      at = (size_t)chunk * umem.chunk_bytes;
      uint8_t *to = umem.memory + at;
      memcpy(to + tag, frame, bytes);
      memcpy(to, state == SENT_TAGGED ? frame - TAG_BYTES : frame, MAC_BYTES);
      if (tag != 0) put_tag(to, d->vlan);
    } else if (tag != 0) {
      memmove(frame - tag, frame, MAC_BYTES);
      put_tag(frame - tag, d->vlan);
      at -= tag;
    }
    umem.state[chunk] = is_ours && tag != 0 ? SENT_TAGGED : SENT_AWAY;
    struct xdp_desc *entries = q->tx.entries;
    entries[q->tx.ours++ & q->tx.mask] = (struct xdp_desc){ .addr = at, .len = bytes + tag };
    q->sent++;
    sent++;
    all += bytes;
    produced(&q->tx);
  }
  d->shared.counters[SENT] += sent;
  d->shared.counters[SENT_BYTES] += all;
}

static napi_value stage(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value a[2];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct device *d = &devices[int_of(env, a[0])];
  if (d->queue_count > 0) stage_frames(d, int_of(env, a[1]));
  return NULL;
}

static napi_value kick(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value a[2];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct device *d = &devices[int_of(env, a[0])];
  int failed = 0;
  if (d->queue_count > 0) stage_frames(d, int_of(env, a[1]));
  for (uint32_t i = 0; i < d->queue_count; i++) {
    int its = kick_queue(d, &d->queues[i]);
    if (failed == 0 || its == EAGAIN) failed = its;
  }
  return number_of(env, failed);
}

/* statistics(number): brings RING_DROPS up to date. failure(number): the pending error of a socket, as a text, or undefined. */

static napi_value statistics(napi_env env, napi_callback_info info) {
  struct device *d = device_of(env, info);
  uint64_t drops = 0;
  for (uint32_t i = 0; i < d->queue_count; i++) {
    struct xdp_statistics stats = { 0 };
    socklen_t bytes = sizeof stats;
    /* Longer than the link takes is none of them; so there was no room. */
    if (getsockopt(d->queues[i].fd, SOL_XDP, XDP_STATISTICS, &stats, &bytes) == 0) drops += stats.rx_dropped + stats.rx_ring_full;
  }
  if (d->queue_count > 0) d->shared.counters[RING_DROPS] += drops - d->drops;
  d->drops = drops;
  return NULL;
}

static napi_value failure(napi_env env, napi_callback_info info) {
  napi_value text = NULL;
  struct device *d = device_of(env, info);
  for (uint32_t i = 0; i < d->queue_count && text == NULL; i++) {
    int failed = 0;
    socklen_t bytes = sizeof failed;
    if (getsockopt(d->queues[i].fd, SOL_SOCKET, SO_ERROR, &failed, &bytes) == 0 && failed != 0) {
      napi_create_string_utf8(env, strerror(failed), NAPI_AUTO_LENGTH, &text);
    }
  }
  return text;
}

/*
 * census(): where the chunks are: `free`, `held` by JavaScript, `fill` and `rx`: lent as room, and `tx` and `done`: sent, by the
 * rings they are in; `kernel`: in none, so that the kernel has them. Their sum is `chunks`.
 */
static napi_value census(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value result;
  uint32_t held = 0, fill = 0, rx = 0, tx = 0, done = 0, away = 0;
  for (uint32_t i = 0; i < umem.chunks; i++) held += umem.state[i] == HELD;
  for (int i = 0; i < MOST_DEVICES; i++) {
    for (uint32_t k = 0; k < devices[i].queue_count; k++) {
      struct queue *q = &devices[i].queues[k];
      fill += is_behind(&q->fill) ? q->fill.ours - q->fill.theirs : 0;
      tx += is_behind(&q->tx) ? q->tx.ours - q->tx.theirs : 0;
      rx += waiting(&q->rx);
      done += waiting(&q->done);
      away += q->lent + q->sent;
    }
  }
  napi_create_object(env, &result);
  set(env, result, "chunks", umem.chunks);
  set(env, result, "free", umem.free_count);
  set(env, result, "held", held);
  set(env, result, "fill", fill);
  set(env, result, "rx", rx);
  set(env, result, "tx", tx);
  set(env, result, "done", done);
  set(env, result, "kernel", (double)away - fill - rx - tx - done);
  return result;
}

/* watch(number, wake), arm(number), disarm(number), close(number). */

static napi_value watch(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value a[2];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct device *d = &devices[int_of(env, a[0])];
  int fds[MOST_QUEUES];
  for (uint32_t i = 0; i < d->queue_count; i++) fds[i] = d->queues[i].fd;
  return waker_open(env, &d->waker, fds, d->queue_count, a[1]);
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
  if (d->queue_count > 0) {
    waker_close(&d->waker);
    if (d->shared.counters != NULL) shared_close(env, &d->shared);
    close_all(d);
  }
  if (!is_in_use()) forget_umem(env);
  return NULL;
}

void add_xdp(napi_env env, napi_value exports) {
  static const struct function functions[] = {
    { "umem", set_umem }, { "attach", attach }, { "open", open_device }, { "receive", receive }, { "release", release },
    { "stage", stage }, { "kick", kick }, { "statistics", statistics }, { "failure", failure }, { "census", census },
    { "watch", watch }, { "arm", arm }, { "disarm", disarm }, { "close", close_device },
  };
  napi_value xdp;
  napi_create_object(env, &xdp);
  add_functions(env, xdp, functions, sizeof functions / sizeof *functions);
  napi_set_named_property(env, exports, "xdp", xdp);
}
#endif
