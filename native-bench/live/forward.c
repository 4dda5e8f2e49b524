/*
 * The NAT of natbase between two interfaces: what Pinhole's drivers are measured against, on the same kind of sockets.
 *   forward packet|xdpdrv|xdpgeneric INSIDE,ADDRESS/BITS,PEER-MAC OUTSIDE,ADDRESS[-LAST],PEER-MAC
 * Translates what natbase does (../baseline/README.md) of the inside prefix to the outside addresses, answers ARP for all of its
 * addresses, and sends all to the Ethernet address of the peer on the other side. Says `ready`, and upon SIGTERM or SIGINT how many
 * packets there were.
 *
 * **Not** done: asking for neighbours, routes, rules, ICMP errors, MTUs over 1500, fragments, IPv6, several queues of AF_XDP,
 * zero-copy. Flows end when a packet moves time past their end.
 */
#include "forward.h"
#include "forward-packet.h"
#include "forward-xdp.h"
#include <poll.h>
#include <signal.h>
#include <time.h>

enum { INSIDE_PORT, OUTSIDE_PORT, FLOWS = 262144, MOST_ADDRESSES = 1024, ARP_BYTES = ETH_HLEN + 28 };
/* It polls so long after the last frame; a signal that comes just before it sleeps is seen when it wakes. */
enum { POLL_NS = 50000, LONGEST_SLEEP_MS = 1000 };

static volatile sig_atomic_t is_over;
static void end(int number) { (void)number; is_over = 1; }

static void usage(void) {
  fputs("usage: forward packet|xdpdrv|xdpgeneric INSIDE,ADDRESS/BITS,PEER-MAC OUTSIDE,ADDRESS[-LAST],PEER-MAC\n", stderr);
  exit(2);
}

static u64 clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

/* Of an end on the command line; `bits`: of the prefix, for who has one; who has none may have several addresses. */
static void read_end(Port *p, char *text, int *bits) {
  char *address = strchr(text, ','), *mac = address ? strchr(address + 1, ',') : NULL;
  if (!mac || address == text || address - text >= IFNAMSIZ) usage();
  *address++ = *mac++ = 0;
  char *slash = strchr(address, '/'), *dash = strchr(address, '-');
  if ((slash != NULL) != (bits != NULL) || (dash && bits)) usage();
  if (dash) *dash++ = 0;
  if (slash) {
    char rest;
    *slash++ = 0;
    if (sscanf(slash, "%2d%c", bits, &rest) != 1 || *bits < 1 || *bits > 32) usage();
  }
  struct in_addr a, last;
  unsigned m[6];
  char rest;
  if (inet_pton(AF_INET, address, &a) != 1 || inet_pton(AF_INET, dash ? dash : address, &last) != 1) usage();
  p->addresses = ntohl(last.s_addr) - ntohl(a.s_addr) + 1;
  if (p->addresses < 1 || p->addresses > MOST_ADDRESSES) usage();
  if (sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x%c", m, m + 1, m + 2, m + 3, m + 4, m + 5, &rest) != 6) usage();
  p->name = text;
  p->address = a.s_addr;
  for (int i = 0; i < 6; i++) p->head[i] = (u8)m[i];
}

static void read_link(Port *p) {
  struct ifreq ask = { 0 };
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  strncpy(ask.ifr_name, p->name, IFNAMSIZ - 1);
  if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &ask) < 0) die("no such interface", p->name);
  p->index = ask.ifr_ifindex;
  if (ioctl(fd, SIOCGIFHWADDR, &ask) < 0) die("SIOCGIFHWADDR", p->name);
  memcpy(p->mac, ask.ifr_hwaddr.sa_data, 6);
  memcpy(p->head + 6, p->mac, 6);
  if (ioctl(fd, SIOCGIFMTU, &ask) < 0) die("SIOCGIFMTU", p->name);
  if (ask.ifr_mtu > MOST_MTU) {
    errno = EMSGSIZE;
    die("its MTU is more than 1500", p->name);
  }
  p->most_bytes = (u32)ask.ifr_mtu + ETH_HLEN;
  close(fd);
}

/* RFC 826, for IPv4 over Ethernet: 1 if the frame has been made an answer. */
static int answer_arp(const Port *p, u8 *f, u32 bytes) {
  if (bytes < ARP_BYTES || be16(f + 12) != ETH_P_ARP || memcmp(f + 14, "\0\1\x08\0\6\4\0\1", 8) != 0) return 0;
  u8 *sender = f + 22, *target = f + 32;
  u32 asked = ld32(target + 6);
  if (ntohl(asked) - ntohl(p->address) >= p->addresses) return 0;
  memcpy(f, sender, 6);
  memcpy(f + 6, p->mac, 6);
  f[21] = 2;
  memcpy(target, sender, 10);
  memcpy(sender, p->mac, 6);
  st32(sender + 6, asked);
  return 1;
}

/*
 * The engine tells sides by their addresses: what comes by the wrong one is kept from it here, and so is what only a replay
 * re-addresses.
 */
INLINE int is_for_engine(const Engine *e, const Port *p, int side, const Frame *f) {
  const u8 *d = f->data;
  if (unlikely(f->cap < ETH_HLEN + 20 || ld16(d + 12) != htons(ETH_P_IP))) return 0;
  if (unlikely((ld32(d) ^ ld32(p->mac)) | (u32)(ld16(d + 4) ^ ld16(p->mac + 4)))) return 0;
  u32 mask = e->prefix_mask[0], value = e->prefix_value[0];
  int from_inside = (__builtin_bswap32(ld32(d + 26)) & mask) == value;
  int to_inside = (__builtin_bswap32(ld32(d + 30)) & mask) == value;
  return likely((from_inside ^ side) & !(side & to_inside));
}

/* A turn at a time, until a signal. */
INLINE void run(const Driver d, Engine *e, Port *ports) {
  static Frame frames[BATCH];
  u64 poll_until = 0;
  while (!is_over) {
    u64 now = clock_ns();
    u32 first = d.receive(ports + INSIDE_PORT, frames, BATCH / 2);
    u32 count = first + d.receive(ports + OUTSIDE_PORT, frames + first, BATCH - first), rows = 0;
    for (u32 i = 0; i < count; i++) {
      int side = i >= first;
      Port *p = ports + side;
      Frame f = frames[i];
      if (likely(is_for_engine(e, p, side, &f))) {
        f.ns = now;
        frames[rows++] = f;
      } else if (answer_arp(p, f.data, f.cap)) {
        d.send(p, f.data, ARP_BYTES);
        p->is_pending = 1;
      } else {
        p->not_taken++;
        d.drop(f.data);
      }
    }
    engine_process(e, frames, rows);
    for (u32 i = 0; i < rows; i++) {
      const Frame *f = frames + i;
      if (unlikely(f->verdict == DROP)) {
        d.drop(f->data);
        continue;
      }
      Port *p = ports + (f->verdict == TO_OUTSIDE ? OUTSIDE_PORT : INSIDE_PORT);
      memcpy(f->data, p->head, sizeof p->head);
      d.send(p, f->data, f->net_end);
      p->is_pending = 1;
    }
    for (int i = 0; i < 2; i++) d.release(ports + i);
    int is_pending = 0;
    for (int i = 0; i < 2; i++) {
      if (ports[i].is_pending) is_pending |= ports[i].is_pending = d.kick(ports + i);
    }
    if (count > 0) poll_until = clock_ns() + POLL_NS;
    else if (!is_pending && now >= poll_until) {
      struct pollfd wait[] = { { .fd = ports[0].fd, .events = POLLIN }, { .fd = ports[1].fd, .events = POLLIN } };
      poll(wait, 2, LONGEST_SLEEP_MS);
    }
  }
}

static void print_port(const Port *p, const char *side) {
  printf("\"%s\": {\"received\": %llu, \"sent\": %llu, \"notTaken\": %llu, \"noRoom\": %llu, \"ringDrops\": %llu}, ", side,
    (unsigned long long)p->received, (unsigned long long)p->sent, (unsigned long long)p->not_taken, (unsigned long long)p->no_room,
    (unsigned long long)p->ring_drops);
}

static void print_counters(const Engine *e, const Port *ports) {
  printf("{");
  print_port(ports + INSIDE_PORT, "inside");
  print_port(ports + OUTSIDE_PORT, "outside");
  printf("\"flowsOpened\": %llu, \"drops\": {", (unsigned long long)e->opened);
  const char *comma = "";
  for (int i = 0; i < REASON_COUNT; i++) {
    if (e->drops[i] == 0) continue;
    printf("%s\"%s\": %llu", comma, REASON_NAMES[i], (unsigned long long)e->drops[i]);
    comma = ", ";
  }
  puts("}}");
}

int main(int argc, char **argv) {
  if (argc != 4) usage();
  int is_packet = !strcmp(argv[1], "packet"), is_driver = !strcmp(argv[1], "xdpdrv"), bits;
  if (!is_packet && !is_driver && strcmp(argv[1], "xdpgeneric") != 0) usage();
  xdp_flags = is_driver ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
  static Port ports[2];
  read_end(ports + INSIDE_PORT, argv[2], &bits);
  read_end(ports + OUTSIDE_PORT, argv[3], NULL);
  static Options options = { .flows = FLOWS, .seed = 1, .prefixes = 1 };
  options.pool_first = __builtin_bswap32(ports[OUTSIDE_PORT].address);
  options.pool_size = ports[OUTSIDE_PORT].addresses;
  options.prefix_mask[0] = ~0u << (32 - bits);
  options.prefix_value[0] = __builtin_bswap32(ports[INSIDE_PORT].address) & options.prefix_mask[0];
  Engine *e = table_alloc(sizeof *e);
  engine_create(e, &options);
  for (int i = 0; i < 2; i++) read_link(ports + i);
  struct sigaction action = { .sa_handler = end };
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  const Driver d = is_packet ? PACKET_DRIVER : XDP_DRIVER;
  d.open(ports);
  puts("ready");
  fflush(stdout);
  if (is_packet) run(PACKET_DRIVER, e, ports);
  else run(XDP_DRIVER, e, ports);
  for (int i = 0; i < 2; i++) d.statistics(ports + i);
  print_counters(e, ports);
  return 0;
}
