/* VLAN tags (IEEE 802.1Q): whose a frame is, and putting one in. */
#ifndef PINHOLE_TAG_H
#define PINHOLE_TAG_H
#include "driver.h"
#include <linux/filter.h>
#include <linux/if_ether.h>

#ifndef SKF_AD_VLAN_TPID
#define SKF_AD_VLAN_TPID 60
#endif

enum { TAG_BYTES = 4, MAC_BYTES = 12, VID_MASK = 0xfff, NO_VLAN = 0x1000 };
/* What a socket filter returns: bytes of a frame that are kept. */
enum { WHOLE = 0x40000, COUNTED = 64 };

/*
 * Six instructions of a socket filter: loads the number of the tag that the system has taken off; where there is none of 802.1Q,
 * skips so many instructions.
 */
#define LOAD_TAG_OR_SKIP(skipped) \
  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT)), \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, (skipped) + 4, 0), \
  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TPID)), \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_8021Q, 0, (skipped) + 2), \
  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG)), \
  BPF_STMT(BPF_ALU | BPF_AND | BPF_K, VID_MASK)

/*
 * Why a frame is none of `vlan`, or of no VLAN if that is 0: what counts it, or 0. `type` is that of its tag, and 0 without one. A tag
 * with number 0 has a priority and no VLAN (802.1Q 6.9.1): it is as good as none.
 */
static inline int refusal_of(uint32_t type, uint32_t control, uint32_t vlan) {
  if (type == 0) return vlan == 0 ? 0 : UNTAGGED;
  if (type != ETH_P_8021Q) return SERVICE_TAGGED;
  if ((control & VID_MASK) == vlan) return 0;
  return (control & VID_MASK) == 0 ? PRIORITY_TAGGED : TAGGED;
}

static inline void put_tag(uint8_t *to, uint32_t vlan) {
  const uint8_t tag[TAG_BYTES] = { ETH_P_8021Q >> 8, ETH_P_8021Q & 255, vlan >> 8, vlan };
  memcpy(to + MAC_BYTES, tag, sizeof tag);
}

/* Copies a frame, which becomes longer by its tag: of priority 0. */
static inline void copy_tagged(uint8_t *to, const uint8_t *frame, uint32_t bytes, uint32_t vlan) {
  memcpy(to, frame, MAC_BYTES);
  put_tag(to, vlan);
  memcpy(to + MAC_BYTES + TAG_BYTES, frame + MAC_BYTES, bytes - MAC_BYTES);
}
#endif
