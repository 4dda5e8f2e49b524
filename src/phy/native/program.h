/* Programs that the kernel runs for each frame of an interface: which ones are the box's, and none of the kernel's business. */
#ifndef PINHOLE_PROGRAM_H
#define PINHOLE_PROGRAM_H
#include <stddef.h>
#include <stdint.h>

enum { MOST_KERNEL_ADDRESSES = 128 };

/* What the box takes: packets of IP to this Ethernet address that no address of the kernel is the destination of. */
struct taken {
  uint8_t mac[6];
  uint32_t most_bytes;            /* of a frame without its tag; longer ones are not taken. 0: all are */
  uint32_t vlan;                  /* 0: untagged frames; else those with this tag */
  int index;                      /* of the interface */
  int is_generic;                 /* not in its driver */
  int asks_tag;                   /* the driver may keep a VLAN tag beside the frame: it is asked */
  uint32_t count4, count6;
  uint32_t kernel4[MOST_KERNEL_ADDRESSES];      /* as they lie in the packet */
  uint32_t kernel6[MOST_KERNEL_ADDRESSES][4];
};

/* Of a program at an interface. All end with the process, whatever ends it. -1: not there. */
struct attached { int map, program, link; };

/* A map of sockets by queue, the program over it, and the link of both to the interface; 0, or what failed. */
int attach_program(struct attached *a, const struct taken *taken, uint32_t queues, const char **what);
/* Gives the frames of a queue to a socket. */
int attach_socket(const struct attached *a, uint32_t queue, int fd);
void detach_program(struct attached *a);

/*
 * The kernel drops what the box takes after packet sockets have had it, and before its own stack has: a descriptor, which ends that
 * when it is closed, or -1 and what failed. Linux 6.6.
 */
int spare_kernel(const struct taken *taken, const char **what);

/* btf.c: the number of a function of the kernel's that programs may call; 0: it has none of that name. */
int find_kernel_function(const char *name);
#endif
