/*
 * Sends UDP of 4 + 46 bytes over an AF_PACKET socket as fast as the interface takes it, or at a rate, in `flows` flows.
 *   blast INTERFACE DST-MAC SRC-ADDRESS DST-ADDRESS FLOWS SECONDS PACKETS-A-SECOND
 * Prints how many it sent, and the processor time that took in ns: that of the kernel's receiving side is in it, which over a veth
 * pair runs in the sender's system call. Source ports count up, then source addresses.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, BYTES = 60 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void sum(uint8_t *at, int bytes, uint8_t *into) {
  uint32_t s = 0;
  for (int i = 0; i < bytes; i += 2) s += at[i] << 8 | at[i + 1];
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  into[0] = ~s >> 8;
  into[1] = ~s;
}

int main(int argc, char **argv) {
  if (argc != 8) return 2;
  int fd = socket(AF_PACKET, SOCK_RAW, 0), yes = 1, flows = atoi(argv[5]);
  double seconds = atof(argv[6]), rate = atof(argv[7]);
  struct ifreq ask = { 0 };
  strncpy(ask.ifr_name, argv[1], IFNAMSIZ - 1);
  if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &ask) < 0) return perror("interface"), 1;
  struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = ask.ifr_ifindex };
  setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof yes);
  if (bind(fd, (struct sockaddr *)&to, sizeof to) < 0 || ioctl(fd, SIOCGIFHWADDR, &ask) < 0) return perror("bind"), 1;
  uint8_t (*frames)[BYTES] = calloc(flows, BYTES);
  unsigned mac[6];
  sscanf(argv[2], "%x:%x:%x:%x:%x:%x", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5);
  uint32_t src = ntohl(inet_addr(argv[3])), dst = inet_addr(argv[4]);
  for (int i = 0; i < flows; i++) {
    uint8_t *f = frames[i];
    for (int k = 0; k < 6; k++) f[k] = mac[k];
    memcpy(f + 6, ask.ifr_hwaddr.sa_data, 6);
    memcpy(f + 12, "\x08\x00\x45\x00\x00\x2e\x00\x00\x00\x00\x40\x11", 12);
    uint32_t from = htonl(src + i / 50000);
    memcpy(f + 26, &from, 4);
    memcpy(f + 30, &dst, 4);
    sum(f + 14, 20, f + 24);
    int port = 10000 + i % 50000;
    f[34] = port >> 8;
    f[35] = port;
    f[36] = 9;
    f[39] = 26;
  }
  struct iovec parts[BATCH];
  struct mmsghdr messages[BATCH] = { 0 };
  for (int i = 0; i < BATCH; i++) messages[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1 };
  long sent = 0, next = 0;
  double from = now(), t;
  while ((t = now() - from) < seconds) {
    if (rate > 0 && sent > t * rate) continue;
    for (int i = 0; i < BATCH; i++) parts[i] = (struct iovec){ frames[(next + i) % flows], BYTES };
    int n = sendmmsg(fd, messages, BATCH, 0);
    if (n > 0) sent += n, next = (next + n) % flows;
  }
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  double ns = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e9 + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e3;
  printf("%ld %.0f\n", sent, ns);
  return 0;
}
