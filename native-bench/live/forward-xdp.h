/*
 * AF_XDP over one UMEM: a frame is rewritten where the kernel put it, and sent from there by the other interface. A chunk is on the
 * free list, lent to the kernel as room (fill to RX ring), ours, or away to be sent (TX to completion ring). No ring can overflow: a
 * port lends no more than its RX ring holds, and has no more away than its completion ring holds. The program gives every frame of
 * queue 0 to the socket: the kernel sees none of them.
 */
#ifndef FORWARD_XDP_H
#define FORWARD_XDP_H
#include "forward.h"
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <stddef.h>

#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9
#endif

enum { CHUNKS = 2 * (RX_SLOTS + TX_SLOTS) + 2 * BATCH, AHEAD = 4, SEND_BUFFER_BYTES = 8 << 20 };

static u8 *umem;
static u32 free_chunks[CHUNKS], free_count;
static u32 xdp_flags;

static void xdp_attach(Port *p) {
  union bpf_attr map = { .map_type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4, .max_entries = 1 };
  p->map = must_bpf(BPF_MAP_CREATE, &map, "BPF_MAP_CREATE", p->name);
  /* return redirect_map(map, queue, XDP_PASS) */
  struct bpf_insn code[] = {
    { .code = BPF_LDX | BPF_W | BPF_MEM, .dst_reg = 2, .src_reg = 1, .off = offsetof(struct xdp_md, rx_queue_index) },
    { .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = p->map },
    { .code = 0 },
    { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = XDP_PASS },
    { .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map },
    { .code = BPF_JMP | BPF_EXIT },
  };
  union bpf_attr program = { .prog_type = BPF_PROG_TYPE_XDP, .insns = (uintptr_t)code, .insn_cnt = sizeof code / sizeof *code,
    .license = (uintptr_t)"Dual MIT/GPL" };
  int loaded = must_bpf(BPF_PROG_LOAD, &program, "BPF_PROG_LOAD", p->name);
  union bpf_attr link = { .link_create = { .prog_fd = (u32)loaded, .target_ifindex = (u32)p->index, .attach_type = BPF_XDP,
    .flags = xdp_flags } };
  must_bpf(BPF_LINK_CREATE, &link, "BPF_LINK_CREATE", p->name);      /* ends with the process */
}

static void xdp_map_ring(const Port *p, Ring *r, off_t at, const struct xdp_ring_offset *o, u32 slots, size_t entry) {
  u8 *base = mmap(NULL, o->desc + slots * entry, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, p->fd, at);
  if (base == MAP_FAILED) die("mmap", p->name);
  *r = (Ring){ .producer = (void *)(base + o->producer), .consumer = (void *)(base + o->consumer),
    .flags = (void *)(base + o->flags), .entries = base + o->desc, .mask = slots - 1 };
}

INLINE u32 waiting(Ring *r) { return __atomic_load_n(r->producer, __ATOMIC_ACQUIRE) - r->ours; }
INLINE void consumed(Ring *r, u32 count) { __atomic_store_n(r->consumer, r->ours += count, __ATOMIC_RELEASE); }
INLINE void produced(Ring *r) { __atomic_store_n(r->producer, r->ours, __ATOMIC_RELEASE); }
INLINE int needs_wakeup(const Ring *r) { return __atomic_load_n(r->flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP; }
INLINE int is_behind(Ring *r) {
  r->theirs = __atomic_load_n(r->consumer, __ATOMIC_ACQUIRE);
  return r->theirs != r->ours;
}

/* As much room as the RX ring can take. */
INLINE void lend(Port *p) {
  u32 count = RX_SLOTS - p->lent;
  if (count > free_count) count = free_count;
  if (count == 0) return;
  u64 *entries = p->fill.entries;
  for (u32 i = 0; i < count; i++) entries[p->fill.ours++ & p->fill.mask] = (u64)free_chunks[--free_count] * SLOT_BYTES;
  p->lent += count;
  produced(&p->fill);
  if (needs_wakeup(&p->fill)) recvfrom(p->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

/* Frames that have left. */
INLINE void reap(Port *p) {
  u32 count = waiting(&p->done);
  if (count == 0) return;
  const u64 *entries = p->done.entries;
  for (u32 i = 0; i < count; i++) free_chunks[free_count++] = (u32)(entries[(p->done.ours + i) & p->done.mask] / SLOT_BYTES);
  consumed(&p->done, count);
  p->away -= count;
}

static void xdp_open_port(Port *p, const Port *first) {
  char second_queue[64 + IFNAMSIZ];
  snprintf(second_queue, sizeof second_queue, "/sys/class/net/%s/queues/rx-1", p->name);
  if (access(second_queue, F_OK) == 0) {
    fprintf(stderr, "forward: %s: has several queues, of which frames of one alone would come: ethtool -L %s combined 1\n", p->name,
      p->name);
    exit(1);
  }
  xdp_attach(p);
  if ((p->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0) die("AF_XDP", p->name);
  struct xdp_umem_reg region = { .addr = (uintptr_t)umem, .len = (u64)CHUNKS * SLOT_BYTES, .chunk_size = SLOT_BYTES };
  if (p == first) set_option(p, SOL_XDP, XDP_UMEM_REG, "XDP_UMEM_REG", &region, sizeof region);
  u32 rx = RX_SLOTS, tx = TX_SLOTS;
  set_option(p, SOL_XDP, XDP_UMEM_FILL_RING, "XDP_UMEM_FILL_RING", &rx, sizeof rx);
  set_option(p, SOL_XDP, XDP_UMEM_COMPLETION_RING, "XDP_UMEM_COMPLETION_RING", &tx, sizeof tx);
  set_option(p, SOL_XDP, XDP_RX_RING, "XDP_RX_RING", &rx, sizeof rx);
  set_option(p, SOL_XDP, XDP_TX_RING, "XDP_TX_RING", &tx, sizeof tx);
  struct xdp_mmap_offsets offsets;
  socklen_t bytes = sizeof offsets;
  if (getsockopt(p->fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &bytes) < 0) die("XDP_MMAP_OFFSETS", p->name);
  xdp_map_ring(p, &p->rx_ring, XDP_PGOFF_RX_RING, &offsets.rx, RX_SLOTS, sizeof(struct xdp_desc));
  xdp_map_ring(p, &p->tx_ring, XDP_PGOFF_TX_RING, &offsets.tx, TX_SLOTS, sizeof(struct xdp_desc));
  xdp_map_ring(p, &p->fill, XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, RX_SLOTS, sizeof(u64));
  xdp_map_ring(p, &p->done, (off_t)XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr, TX_SLOTS, sizeof(u64));
  /* So that one call sends them all; kernels that do not have it are called again. */
  int budget = TX_SLOTS, buffer = SEND_BUFFER_BYTES;
  setsockopt(p->fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof budget);
  setsockopt(p->fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
  lend(p);
  struct sockaddr_xdp to = { .sxdp_family = AF_XDP, .sxdp_ifindex = (u32)p->index, .sxdp_flags = XDP_USE_NEED_WAKEUP | XDP_COPY };
  if (p != first) {
    to.sxdp_flags = XDP_SHARED_UMEM;
    to.sxdp_shared_umem_fd = (u32)first->fd;
  }
  if (bind(p->fd, (struct sockaddr *)&to, sizeof to) < 0) die("bind", p->name);
  u32 queue = 0, value = (u32)p->fd;
  union bpf_attr update = { .map_fd = (u32)p->map, .key = (uintptr_t)&queue, .value = (uintptr_t)&value };
  must_bpf(BPF_MAP_UPDATE_ELEM, &update, "BPF_MAP_UPDATE_ELEM", p->name);
}

static void xdp_open(Port *ports) {
  umem = table_alloc((size_t)CHUNKS * SLOT_BYTES);
  for (u32 i = CHUNKS; i-- > 0;) free_chunks[free_count++] = i;
  for (int i = 0; i < 2; i++) xdp_open_port(ports + i, ports);
}

INLINE u32 xdp_receive(Port *p, Frame *frames, u32 most) {
  u32 count = waiting(&p->rx_ring), taken = 0;
  if (count > most) count = most;
  if (count == 0) return 0;
  const struct xdp_desc *entries = p->rx_ring.entries;
  u32 at = p->rx_ring.ours, mask = p->rx_ring.mask;
  for (u32 i = 0; i < count; i++) {
    if (i + AHEAD < count) __builtin_prefetch(umem + entries[(at + i + AHEAD) & mask].addr);
    const struct xdp_desc *entry = &entries[(at + i) & mask];
    u8 *frame = umem + entry->addr, *end, *field;
    u32 bytes = entry->len, pseudo;
    /* XDP does not tell whether a checksum is complete; but it shows. */
    if ((field = find_sum(frame, bytes, &pseudo, &end)) && unlikely(ld16(field) == pseudo)) complete_sum(frame, field, end);
    if (unlikely(bytes > p->most_bytes)) {
      free_chunks[free_count++] = (u32)(entry->addr / SLOT_BYTES);
      p->not_taken++;
      continue;
    }
    frames[taken++] = (Frame){ .data = frame, .cap = bytes, .wire = bytes, .link = LINK_ETHERNET };
  }
  consumed(&p->rx_ring, count);
  p->received += count;
  p->lent -= count;
  return taken;
}

INLINE void xdp_drop(u8 *frame) { free_chunks[free_count++] = (u32)((size_t)(frame - umem) / SLOT_BYTES); }

INLINE int xdp_kick(Port *p) {
  while (is_behind(&p->tx_ring)) {
    u32 before = p->tx_ring.theirs;
    if (!needs_wakeup(&p->tx_ring)) return 0;
    int failed = sendto(p->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0;
    if (!is_behind(&p->tx_ring) || p->tx_ring.theirs != before) continue;
    return !failed || errno == EAGAIN || errno == EBUSY || errno == ENOBUFS;
  }
  return 0;
}

INLINE void xdp_send(Port *p, u8 *frame, u32 bytes) {
  if (unlikely(p->away == TX_SLOTS)) {
    reap(p);
    if (p->away == TX_SLOTS) {
      xdp_kick(p);
      reap(p);
    }
    if (p->away == TX_SLOTS) {
      p->no_room++;
      return xdp_drop(frame);
    }
  }
  struct xdp_desc *entries = p->tx_ring.entries;
  entries[p->tx_ring.ours++ & p->tx_ring.mask] = (struct xdp_desc){ .addr = (u64)(frame - umem), .len = bytes };
  p->away++;
  p->sent++;
  produced(&p->tx_ring);
}

INLINE void xdp_release(Port *p) {
  reap(p);
  lend(p);
}

static void xdp_statistics(Port *p) {
  struct xdp_statistics stats = { 0 };
  socklen_t bytes = sizeof stats;
  if (getsockopt(p->fd, SOL_XDP, XDP_STATISTICS, &stats, &bytes) == 0) p->ring_drops += stats.rx_dropped + stats.rx_ring_full;
}

#define XDP_DRIVER (Driver){ .open = xdp_open, .receive = xdp_receive, .send = xdp_send, .drop = xdp_drop, .release = xdp_release, \
  .kick = xdp_kick, .statistics = xdp_statistics }
#endif
