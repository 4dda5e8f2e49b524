/*
 * A switch port of a VLAN for the lab, made of the kernel's own means: tagger INTERFACE VID [TYPE]. What the host sends by the interface
 * gets the tag, beside the frame as a VLAN device would have it; of what comes in, frames with this tag lose it, and all others are
 * dropped. TYPE is that of the tag, 0x8100 unless it says otherwise. It prints "ready", and ends with its standard input.
 */
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of bpf(2), Linux 6.6; headers may be older. */
enum { LINK_CREATE = 28, TCX_INGRESS = 46, TCX_EGRESS = 47, PASS = 0, SHOT = 2 };
struct link_create { uint32_t program, index, type, flags; uint8_t rest[48]; };

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void attach(const struct bpf_insn *code, size_t count, int index, int type) {
  static char log[4096];
  union bpf_attr load;
  memset(&load, 0, sizeof load);
  load.prog_type = BPF_PROG_TYPE_SCHED_CLS;
  load.insn_cnt = count;
  load.insns = (uintptr_t)code;
  load.license = (uintptr_t)"GPL";
  load.log_buf = (uintptr_t)log;
  load.log_size = sizeof log;
  load.log_level = 1;
  int program = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
  if (program < 0) fprintf(stderr, "%s", log), die("BPF_PROG_LOAD");
  struct link_create link = { .program = program, .index = index, .type = type };
  if (syscall(SYS_bpf, LINK_CREATE, &link, sizeof link) < 0) die("BPF_LINK_CREATE");
}

#define OP(c, d, s, o, i) ((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
enum { SET = BPF_ALU64 | BPF_MOV | BPF_K, LOAD = BPF_LDX | BPF_W | BPF_MEM, OTHER = BPF_JMP | BPF_JNE | BPF_K, CALL = BPF_JMP | BPF_CALL };

int main(int count, char **words) {
  if (count < 3) return 2;
  int index = if_nametoindex(words[1]), vid = atoi(words[2]), type = count > 3 ? strtol(words[3], NULL, 0) : 0x8100;
  if (index == 0) die(words[1]);
  const struct bpf_insn out[] = {
    OP(SET, 2, 0, 0, htons(type)), OP(SET, 3, 0, 0, vid), OP(CALL, 0, 0, 0, BPF_FUNC_skb_vlan_push),
    OP(SET, 0, 0, 0, PASS), OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
  const struct bpf_insn in[] = {
    OP(LOAD, 2, 1, offsetof(struct __sk_buff, vlan_present), 0), OP(OTHER, 2, 0, 7, 1),
    OP(LOAD, 2, 1, offsetof(struct __sk_buff, vlan_proto), 0), OP(OTHER, 2, 0, 5, htons(type)),
    OP(LOAD, 2, 1, offsetof(struct __sk_buff, vlan_tci), 0), OP(OTHER, 2, 0, 3, vid),
    OP(CALL, 0, 0, 0, BPF_FUNC_skb_vlan_pop),
    OP(SET, 0, 0, 0, PASS), OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
    OP(SET, 0, 0, 0, SHOT), OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
  attach(out, sizeof out / sizeof *out, index, TCX_EGRESS);
  attach(in, sizeof in / sizeof *in, index, TCX_INGRESS);
  puts("ready");
  fflush(stdout);
  while (getchar() != EOF) { /* nothing is said */ }
  return 0;
}
