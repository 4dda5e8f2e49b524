/*
 * Assembled here, by hand, for the addresses of one interface, so that neither a compiler for BPF nor a library is needed. What it
 * does not take goes the usual way up the stack, where the box sees it beside the kernel: ARP, groups, other protocols, frames of
 * other VLANs, what is for others, and what is for addresses of the kernel's own.
 */
#include "program.h"
#include "tag.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Attributes of bpf(2) as they are since Linux 5.9; headers may be older. */
struct map_create { uint32_t type, key_size, value_size, max_entries; };
struct map_update { uint32_t fd, unused; uint64_t key, value, flags; };
struct program_load {
  uint32_t type, count;
  uint64_t instructions, license;
  uint32_t log_level, log_bytes;
  uint64_t log;
  uint32_t kernel, flags;
  char name[16];
  uint32_t index;
};
struct link_create { uint32_t program, index, type, flags; };
enum { LINK_CREATE = 28, ATTACH_XDP = 37, ATTACH_INGRESS = 46, BOUND_TO_DEVICE = 1 << 6, CALL_KERNEL = 2, MOST_CODE = 4096 };
/* What a program at ingress says of a frame: that the next one has it, and then the stack; that it is dropped. */
enum { NEXT = -1, DROP = 2 };

static int bpf(int command, void *attributes, unsigned bytes) {
  return (int)syscall(SYS_bpf, command, attributes, bytes);
}

/* Instructions so far, and jumps to the end that are not known yet. */
struct assembly { struct bpf_insn code[MOST_CODE]; int count, jumps[MOST_CODE], jump_count; };

static void put(struct assembly *a, uint8_t code, int dst, int src, int off, int imm) {
  a->code[a->count++] = (struct bpf_insn){ .code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm };
}

/* To where frames pass, if the comparison holds. */
static void pass_if(struct assembly *a, uint8_t code, int dst, int src, int imm) {
  a->jumps[a->jump_count++] = a->count;
  put(a, code, dst, src, 0, imm);
}

static int32_t word_at(const uint8_t *bytes) {
  int32_t word;
  memcpy(&word, bytes, sizeof word);
  return word;
}

enum {
  LOAD32 = BPF_LDX | BPF_W | BPF_MEM, LOAD16 = BPF_LDX | BPF_H | BPF_MEM, MOVE = BPF_ALU64 | BPF_MOV | BPF_X,
  ADD = BPF_ALU64 | BPF_ADD | BPF_K, SET = BPF_ALU64 | BPF_MOV | BPF_K, ABOVE = BPF_JMP | BPF_JGT | BPF_X,
  BELOW = BPF_JMP | BPF_JLT | BPF_X, SAME = BPF_JMP32 | BPF_JEQ | BPF_K, DIFFERENT = BPF_JMP32 | BPF_JNE | BPF_K,
  DATA = 2, END = 3, AT = 4, VALUE = 5, CONTEXT = 6,
};

/* Passes frames that do not reach so far. */
static void need(struct assembly *a, int bytes) {
  put(a, MOVE, AT, DATA, 0, 0);
  put(a, ADD, AT, 0, 0, bytes);
  pass_if(a, ABOVE, AT, END, 0);
}

static void load(struct assembly *a, uint8_t code, int offset) { put(a, code, VALUE, DATA, offset, 0); }

/* Passes frames whose tag beside them is another one: `vlan` 0 is none. It ends the life of DATA and END. */
static void ask_tag(struct assembly *a, int function, uint32_t vlan) {
  enum { PROTOCOL = -8, TAG = -16 };
  put(a, BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, PROTOCOL, 0);
  put(a, BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, TAG, 0);
  put(a, MOVE, BPF_REG_1, CONTEXT, 0, 0);
  put(a, MOVE, BPF_REG_2, BPF_REG_10, 0, 0);
  put(a, ADD, BPF_REG_2, 0, 0, PROTOCOL);
  put(a, MOVE, BPF_REG_3, BPF_REG_10, 0, 0);
  put(a, ADD, BPF_REG_3, 0, 0, TAG);
  put(a, BPF_JMP | BPF_CALL, 0, CALL_KERNEL, 0, function);
  put(a, LOAD16, VALUE, BPF_REG_10, TAG, 0);
  put(a, BPF_ALU64 | BPF_AND | BPF_K, VALUE, 0, 0, VID_MASK);
  pass_if(a, DIFFERENT, VALUE, 0, vlan);
  if (vlan == 0) return;
  put(a, LOAD16, VALUE, BPF_REG_10, PROTOCOL, 0);
  pass_if(a, DIFFERENT, VALUE, 0, htons(ETH_P_8021Q));
}

/* Passes what the box does not take of frames whose Ethernet header, with a tag or without, has so many bytes, and which have the tag `beside` them. */
static void assemble_packet(struct assembly *a, const struct taken *t, int header, int tag_function, uint32_t beside) {
  if (header > ETH_HLEN) need(a, header + 20);
  if (t->most_bytes > 0) {
    put(a, MOVE, AT, DATA, 0, 0);
    put(a, ADD, AT, 0, 0, t->most_bytes + header - ETH_HLEN);
    pass_if(a, BELOW, AT, END, 0);
  }
  load(a, LOAD16, header - 2);
  int to_ipv4 = a->count;
  put(a, SAME, VALUE, 0, 0, htons(ETH_P_IP));
  pass_if(a, DIFFERENT, VALUE, 0, htons(ETH_P_IPV6));
  need(a, header + 40);
  for (uint32_t i = 0; i < t->count6; i++) {
    int others[4];
    for (int word = 0; word < 4; word++) {
      load(a, LOAD32, header + 24 + 4 * word);
      others[word] = a->count;
      if (word < 3) put(a, DIFFERENT, VALUE, 0, 0, t->kernel6[i][word]);
      else pass_if(a, SAME, VALUE, 0, t->kernel6[i][word]);
    }
    for (int word = 0; word < 3; word++) a->code[others[word]].off = a->count - others[word] - 1;
  }
  int to_taken = a->count;
  put(a, BPF_JMP | BPF_JA, 0, 0, 0, 0);
  a->code[to_ipv4].off = a->count - to_ipv4 - 1;
  load(a, LOAD32, header + 16);
  for (uint32_t i = 0; i < t->count4; i++) pass_if(a, SAME, VALUE, 0, t->kernel4[i]);
  a->code[to_taken].off = a->count - to_taken - 1;
  if (tag_function != 0) ask_tag(a, tag_function, beside);
}

/* Passes what is for others. Where the frame is, the context says at these offsets. */
static void assemble_address(struct assembly *a, const struct taken *t, int data, int end) {
  put(a, LOAD32, DATA, CONTEXT, data, 0);
  put(a, LOAD32, END, CONTEXT, end, 0);
  need(a, ETH_HLEN + 20);
  load(a, LOAD32, 0);
  pass_if(a, DIFFERENT, VALUE, 0, word_at(t->mac));
  load(a, LOAD16, 4);
  uint16_t rest;
  memcpy(&rest, t->mac + 4, sizeof rest);
  pass_if(a, DIFFERENT, VALUE, 0, rest);
}

/* What all jumps lead to that pass a frame. */
static void assemble_end(struct assembly *a, int passed) {
  for (int i = 0; i < a->jump_count; i++) a->code[a->jumps[i]].off = a->count - a->jumps[i] - 1;
  put(a, SET, BPF_REG_0, 0, 0, passed);
  put(a, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void assemble(struct assembly *a, const struct taken *t, int map, int tag_function) {
  memset(a, 0, sizeof *a);
  put(a, MOVE, CONTEXT, BPF_REG_1, 0, 0);
  assemble_address(a, t, offsetof(struct xdp_md, data), offsetof(struct xdp_md, data_end));
  int to_beside = 0;
  if (t->vlan != 0) {
    load(a, LOAD16, offsetof(struct ethhdr, h_proto));
    to_beside = a->count;
    /* Where nobody tells of tags beside frames, untagged ones are none of the VLAN. */
    if (tag_function != 0) put(a, DIFFERENT, VALUE, 0, 0, htons(ETH_P_8021Q));
    else pass_if(a, DIFFERENT, VALUE, 0, htons(ETH_P_8021Q));
    load(a, LOAD16, ETH_HLEN);
    put(a, BPF_ALU64 | BPF_AND | BPF_K, VALUE, 0, 0, htons(VID_MASK));
    pass_if(a, DIFFERENT, VALUE, 0, htons(t->vlan));
    assemble_packet(a, t, ETH_HLEN + TAG_BYTES, tag_function, 0);
  } else assemble_packet(a, t, ETH_HLEN, tag_function, 0);
  if (t->vlan != 0 && tag_function != 0) {
    int to_taken = a->count;
    put(a, BPF_JMP | BPF_JA, 0, 0, 0, 0);
    a->code[to_beside].off = a->count - to_beside - 1;
    assemble_packet(a, t, ETH_HLEN, tag_function, t->vlan);
    a->code[to_taken].off = a->count - to_taken - 1;
  }
  put(a, BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map);
  put(a, 0, 0, 0, 0, 0);
  put(a, LOAD32, BPF_REG_2, CONTEXT, offsetof(struct xdp_md, rx_queue_index), 0);
  /* Of a queue without a socket, frames pass. */
  put(a, SET, BPF_REG_3, 0, 0, XDP_PASS);
  put(a, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map);
  put(a, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  assemble_end(a, XDP_PASS);
}

/* At ingress all tags are beside frames, and number 0 is a priority and no VLAN. */
static void assemble_spare(struct assembly *a, const struct taken *t) {
  memset(a, 0, sizeof *a);
  put(a, MOVE, CONTEXT, BPF_REG_1, 0, 0);
  put(a, LOAD32, VALUE, CONTEXT, offsetof(struct __sk_buff, vlan_tci), 0);
  put(a, BPF_ALU64 | BPF_AND | BPF_K, VALUE, 0, 0, VID_MASK);
  pass_if(a, DIFFERENT, VALUE, 0, t->vlan);
  if (t->vlan != 0) {
    put(a, LOAD32, VALUE, CONTEXT, offsetof(struct __sk_buff, vlan_proto), 0);
    pass_if(a, DIFFERENT, VALUE, 0, htons(ETH_P_8021Q));
  }
  assemble_address(a, t, offsetof(struct __sk_buff, data), offsetof(struct __sk_buff, data_end));
  assemble_packet(a, t, ETH_HLEN, 0, 0);
  put(a, SET, BPF_REG_0, 0, 0, DROP);
  put(a, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  assemble_end(a, NEXT);
}

static struct program_load loading(uint32_t type, const struct assembly *a) {
  return (struct program_load){
    .type = type, .count = a->count, .instructions = (uintptr_t)a->code, .license = (uintptr_t)"Dual MIT/GPL",
  };
}

static int attach_link(int program, int index, uint32_t type, uint32_t flags) {
  struct link_create link = { .program = program, .index = index, .type = type, .flags = flags };
  return bpf(LINK_CREATE, &link, sizeof link);
}

int attach_program(struct attached *a, const struct taken *taken, uint32_t queues, const char **what) {
  *a = (struct attached){ -1, -1, -1 };
  int tag_function = 0;
  *what = "VLAN tags that are kept beside frames would be lost (Linux 6.8 with BTF tells of them)";
  if (taken->asks_tag && (tag_function = find_kernel_function("bpf_xdp_metadata_rx_vlan_tag")) == 0) return EOPNOTSUPP;
  struct map_create map = { .type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4, .max_entries = queues };
  *what = "BPF_MAP_CREATE";
  if ((a->map = bpf(BPF_MAP_CREATE, &map, sizeof map)) < 0) return errno;
  static struct assembly assembly;
  assemble(&assembly, taken, a->map, tag_function);
  struct program_load program = loading(BPF_PROG_TYPE_XDP, &assembly);
  if (tag_function != 0) {
    program.flags = BOUND_TO_DEVICE;
    program.index = taken->index;
  }
  *what = "BPF_PROG_LOAD";
  if ((a->program = bpf(BPF_PROG_LOAD, &program, sizeof program)) < 0) return errno;
  *what = "BPF_LINK_CREATE";
  a->link = attach_link(a->program, taken->index, ATTACH_XDP, taken->is_generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
  return a->link < 0 ? errno : 0;
}

int spare_kernel(const struct taken *taken, const char **what) {
  static struct assembly assembly;
  assemble_spare(&assembly, taken);
  struct program_load load = loading(BPF_PROG_TYPE_SCHED_CLS, &assembly);
  *what = "BPF_PROG_LOAD";
  int program = bpf(BPF_PROG_LOAD, &load, sizeof load);
  if (program < 0) return -1;
  *what = "BPF_LINK_CREATE";
  int link = attach_link(program, taken->index, ATTACH_INGRESS, 0), failed = errno;
  close(program);
  errno = failed;
  return link;
}

int attach_socket(const struct attached *a, uint32_t queue, int fd) {
  uint32_t value = fd;
  struct map_update update = { .fd = a->map, .key = (uintptr_t)&queue, .value = (uintptr_t)&value };
  return bpf(BPF_MAP_UPDATE_ELEM, &update, sizeof update) < 0 ? errno : 0;
}

/* The link before what it holds. */
void detach_program(struct attached *a) {
  int *all[] = { &a->link, &a->program, &a->map };
  for (int i = 0; i < 3; i++) {
    if (*all[i] >= 0) close(*all[i]);
    *all[i] = -1;
  }
}
