/*
 * AF_PACKET with a TPACKET_V2 ring: a frame is rewritten where the kernel put it, and copied once, to a slot that it is sent from with
 * others by one call. From a TX ring it would cost more: the kernel sends pages of that, and whoever receives over veth copies them.
 */
#ifndef FORWARD_PACKET_H
#define FORWARD_PACKET_H
#include "forward.h"
#include <linux/filter.h>
#include <linux/if_packet.h>

enum { BLOCK_BYTES = 1 << 16, AT_ONCE = 64 };

static void packet_open_port(Port *p) {
  if ((p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0) die("AF_PACKET", p->name);
  int version = TPACKET_V2, yes = 1;
  set_option(p, SOL_PACKET, PACKET_VERSION, "TPACKET_V2", &version, sizeof version);
  set_option(p, SOL_PACKET, PACKET_QDISC_BYPASS, "PACKET_QDISC_BYPASS", &yes, sizeof yes);
  struct tpacket_req rx = { .tp_block_size = BLOCK_BYTES, .tp_frame_size = SLOT_BYTES, .tp_frame_nr = RX_SLOTS,
    .tp_block_nr = RX_SLOTS * SLOT_BYTES / BLOCK_BYTES };
  set_option(p, SOL_PACKET, PACKET_RX_RING, "PACKET_RX_RING", &rx, sizeof rx);
  p->rx = mmap(NULL, (size_t)RX_SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, p->fd, 0);
  if (p->rx == MAP_FAILED) die("mmap", p->name);
  if ((p->tx = calloc(TX_SLOTS, SLOT_BYTES)) == NULL) die("calloc", p->name);
  /* Not what is for others, and not what leaves here. */
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (u32)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, PACKET_MULTICAST, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0),
    BPF_STMT(BPF_RET | BPF_K, 0x40000),
  };
  struct sock_fprog filter = { .len = sizeof code / sizeof *code, .filter = code };
  set_option(p, SOL_SOCKET, SO_ATTACH_FILTER, "SO_ATTACH_FILTER", &filter, sizeof filter);
#ifdef PACKET_IGNORE_OUTGOING
  setsockopt(p->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes);
#endif
  struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = p->index };
  if (bind(p->fd, (struct sockaddr *)&to, sizeof to) < 0) die("bind", p->name);
}

/* The kernel's stack has none of the frames, as Pinhole has it too (phy/program.ts), where Linux is 6.6 or later. It ends with the process. */
static void spare_kernel(const Port *p) {
  enum { INGRESS = 46, DROP = 2 };
  struct bpf_insn code[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = DROP }, { .code = BPF_JMP | BPF_EXIT } };
  union bpf_attr program = { .prog_type = BPF_PROG_TYPE_SCHED_CLS, .insns = (uintptr_t)code, .insn_cnt = sizeof code / sizeof *code,
    .license = (uintptr_t)"Dual MIT/GPL" };
  int loaded = bpf(BPF_PROG_LOAD, &program);
  union bpf_attr link = { .link_create = { .prog_fd = (u32)loaded, .target_ifindex = (u32)p->index, .attach_type = INGRESS } };
  if (loaded >= 0) bpf(BPF_LINK_CREATE, &link);
}

static void packet_open(Port *ports) {
  for (int i = 0; i < 2; i++) {
    packet_open_port(ports + i);
    spare_kernel(ports + i);
  }
}

INLINE struct tpacket2_hdr *slot_of(u8 *ring, u32 n, u32 slots) { return (void *)(ring + (size_t)(n % slots) * SLOT_BYTES); }

INLINE u32 packet_receive(Port *p, Frame *frames, u32 most) {
  u32 count = 0;
  while (count < most && p->rx_head - p->rx_tail < RX_SLOTS) {
    struct tpacket2_hdr *slot = slot_of(p->rx, p->rx_head, RX_SLOTS);
    u32 status = __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);
    if (!(status & TP_STATUS_USER)) break;
    p->rx_head++;
    p->received++;
    u32 bytes = slot->tp_snaplen;
    int is_tagged = (status & TP_STATUS_VLAN_VALID) && (slot->tp_vlan_tci & 0xfff) != 0;
    if (unlikely(is_tagged || slot->tp_len > p->most_bytes || bytes < slot->tp_len)) {
      p->not_taken++;
      continue;
    }
    u8 *frame = (u8 *)slot + slot->tp_mac, *end, *field;
    u32 pseudo;
    if (unlikely(status & TP_STATUS_CSUMNOTREADY)) {
      if ((field = find_sum(frame, bytes, &pseudo, &end))) complete_sum(frame, field, end);
    }
    frames[count++] = (Frame){ .data = frame, .cap = bytes, .wire = bytes, .link = LINK_ETHERNET };
  }
  return count;
}

/* In order, or the kernel would come round to one too early. */
INLINE void packet_release(Port *p) {
  for (; p->rx_tail != p->rx_head; p->rx_tail++) {
    __atomic_store_n(&slot_of(p->rx, p->rx_tail, RX_SLOTS)->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
  }
}

typedef struct { u32 bytes; u8 frame[]; } Leaving;
INLINE Leaving *leaving_of(Port *p, u32 n) { return (void *)(p->tx + (size_t)(n % TX_SLOTS) * SLOT_BYTES); }

INLINE int packet_kick(Port *p) {
  static struct mmsghdr messages[AT_ONCE];
  static struct iovec parts[AT_ONCE];
  while (p->tx_tail != p->tx_head) {
    u32 count = p->tx_head - p->tx_tail < AT_ONCE ? p->tx_head - p->tx_tail : AT_ONCE;
    for (u32 i = 0; i < count; i++) {
      Leaving *one = leaving_of(p, p->tx_tail + i);
      parts[i] = (struct iovec){ one->frame, one->bytes };
      messages[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1 };
    }
    int sent = sendmmsg(p->fd, messages, count, MSG_DONTWAIT);
    if (sent <= 0) return errno == EAGAIN || errno == EBUSY || errno == ENOBUFS;
    p->tx_tail += sent;
  }
  p->tx_head = p->tx_tail = 0;
  return 0;
}

INLINE void packet_send(Port *p, u8 *frame, u32 bytes) {
  if (unlikely(p->tx_head - p->tx_tail == TX_SLOTS)) {
    packet_kick(p);
    if (p->tx_head - p->tx_tail == TX_SLOTS) {
      p->no_room++;
      return;
    }
  }
  Leaving *one = leaving_of(p, p->tx_head++);
  memcpy(one->frame, frame, bytes);
  one->bytes = bytes;
  p->sent++;
}

INLINE void packet_drop(u8 *frame) { (void)frame; }

static void packet_statistics(Port *p) {
  struct tpacket_stats stats;
  socklen_t bytes = sizeof stats;
  if (getsockopt(p->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &bytes) == 0) p->ring_drops += stats.tp_drops;
}

#define PACKET_DRIVER (Driver){ .open = packet_open, .receive = packet_receive, .send = packet_send, .drop = packet_drop, \
  .release = packet_release, .kick = packet_kick, .statistics = packet_statistics }
#endif
