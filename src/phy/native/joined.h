/*
 * Joined frames, whole and with the virtio_net_hdr that says how to cut them: from a socket of their own, beside the ring. The ring has
 * each of them too, cut off at the end of its slot; that says where its place among the others is, and `take_joined` finds the
 * rest. Until the first comes, the socket is bound to nothing, so that it costs everyday frames nothing.
 *
 * Not by PACKET_VNET_HDR of the ring itself: Linux (as of 6.18) never clears the slot's bit in rx_owner_map of a frame whose kind of
 * joining has no name in virtio_net_hdr, such as SCTP's, and the ring then takes no frame any more.
 */
#ifndef PINHOLE_JOINED_H
#define PINHOLE_JOINED_H
#include <linux/virtio_net.h>
#include <stdint.h>

enum { MOST_STAGED = 8, STAGED_BYTES = 65535 + 14 };

struct staged {
  uint32_t bytes;
  uint32_t head;                  /* of the ring, when it was read */
  struct virtio_net_hdr header;
  uint8_t frame[STAGED_BYTES];
};

struct joined_queue {
  int fd, index, is_bound;
  uint32_t count;                 /* read, and not found yet: the first of `staged` */
  uint32_t unnamed;               /* could not be read, for they have no name or are too long */
  struct staged *staged[MOST_STAGED], *memory;
};

enum { NOT_THERE, NOT_NAMED, FOUND };

/* For frames longer than that, of a VLAN if it is not 0. 0, or the number of an error, and `what` failed. */
int open_joined_queue(struct joined_queue *q, const char *name, uint32_t vlan, uint32_t most_bytes, const char **what);
/* From now on of the interface that has the name now, once the ring is bound to that. */
void rebind_joined_queue(struct joined_queue *q, const char *name);
void close_joined_queue(struct joined_queue *q);

/*
 * The whole of a frame of `bytes` that the ring, which is at `head`, has the first `held` of. Both have frames in the same order but
 * for those that came by different processors, or that one of them had no room for. It is valid until the next call.
 */
int take_joined(struct joined_queue *q, const uint8_t *begin, uint32_t held, uint32_t bytes, uint32_t head, struct staged **found);

/*
 * The ring, at `head`, is empty, as `status` of its next slot says. Frames that were read for an earlier slot are in no ring, for it was
 * full: they go, and those that still wait with them.
 */
void settle_joined(struct joined_queue *q, uint32_t head, const uint32_t *status);
#endif
