/*
 * The host of `bench:live`: UDP in flows that take turns, and what becomes of it. It is sent by an AF_XDP socket: of all ways by which
 * each frame arrives by itself, as those of programs do, that takes the sender least, who has the processor together with the
 * kernel's receiving side. By sendmmsg(2) on an AF_PACKET socket it was twice as much, and a box waited for its sender.
 *   blast send FLOWS... SECONDS RATE          as fast as the interface takes it, or RATE packets a second if that is not 0
 *   blast open FLOWS... WINDOW                one packet of each flow, so many under way at once that have not arrived
 *   blast ping FLOWS... SECONDS RATE GAP-US   at that rate (0: none), and echo requests, one after the other
 * FLOWS... is INTERFACE DST-MAC SRC-ADDRESS DST-ADDRESS FIRST COUNT BYTES SINK: flows FIRST … FIRST+COUNT-1, of frames of BYTES, and the
 * network namespace whose eth0 they arrive at. Each inside host, from SRC-ADDRESS on, has FLOWS_PER_HOST flows.
 *
 * Prints, of what was sent: packets, how many had arrived when the last was sent, how many soon after, wall time, and processor
 * time, in ns: that of the kernel's receiving side is in it, which over a veth pair runs in the sender's system call. `ping` then:
 * how many were answered, how many were not, median and 99th percentile of the round trip in ns.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, PING_BATCH = 4, LEAST_BYTES = 60, HEADERS = ETH_HLEN + 28, MOST_BYTES = 1514 };
/* Few enough that the hosts, however they are spread over the outside addresses, find ports there. */
enum { FLOWS_PER_HOST = 2048, FIRST_PORT = 10000, PORT_RANGES = 26 };
enum { MOST_PINGS = 1 << 20, DRAIN_US = 60000 };
/* Of frames that are sent; the kernel takes some time to give up the socket of the program before. */
enum { CHUNK_BYTES = 2048, FILL_SLOTS = 64, BUSY_MS = 2000 };
/* Where flows differ. */
enum { AT_SUM = 24, AT_SOURCE = 26, AT_PORT = 34 };
static const double LOST_AFTER = 0.1;

struct flow { uint32_t source; uint16_t port, sum; };

static int out, in, counter;
static unsigned count, bytes, next;
static struct flow *flows;
/* Its socket, and what it shares with the kernel: chunks, the ring of frames to send, the ring of those that have left. */
static int fast;
static uint8_t *chunks;
static struct ring { uint32_t *producer, *consumer; void *entries; } tx, done;
static uint8_t mac[6], own[6];
static uint32_t first_source, destination;
static long sent;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static double processor_ns(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e9 + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e3;
}

/* What eth0 of the sink has received so far. */
static long arrived(void) {
  char text[1024], *at;
  ssize_t length = pread(counter, text, sizeof text - 1, 0);
  if (length < 0) die("/proc/net/dev");
  text[length] = 0;
  long packets;
  if ((at = strstr(text, "eth0:")) == NULL || sscanf(at + 5, "%*s %ld", &packets) != 1) die("no eth0");
  return packets;
}

/* Its counters, which stay those of the name space that they were opened in. */
static void open_counter(const char *sink) {
  char path[256];
  snprintf(path, sizeof path, "/run/netns/%s", sink);
  int here = open("/proc/thread-self/ns/net", O_RDONLY), there = open(path, O_RDONLY);
  if (here < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0) die(path);
  if ((counter = open("/proc/thread-self/net/dev", O_RDONLY)) < 0) die("/proc/net/dev");
  if (setns(here, CLONE_NEWNET) < 0) die("setns");
}

static int interface_of(const char *name) {
  int index = if_nametoindex(name);
  if (index == 0) die("interface");
  return index;
}

static void open_sockets(const char *interface) {
  int yes = 1;
  struct ifreq ask = { 0 };
  strncpy(ask.ifr_name, interface, IFNAMSIZ - 1);
  out = socket(AF_PACKET, SOCK_RAW, 0);
  if (out < 0 || ioctl(out, SIOCGIFINDEX, &ask) < 0) die("interface");
  struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = ask.ifr_ifindex };
  setsockopt(out, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof yes);
  if (bind(out, (struct sockaddr *)&to, sizeof to) < 0 || ioctl(out, SIOCGIFHWADDR, &ask) < 0) die("bind");
  memcpy(own, ask.ifr_hwaddr.sa_data, 6);
  /* Echo replies alone. */
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETH_HLEN + 9),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMP, 0, 2),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETH_HLEN + 20),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, 0),
    BPF_STMT(BPF_RET | BPF_K, LEAST_BYTES),
  };
  struct sock_fprog filter = { .len = sizeof code / sizeof *code, .filter = code };
  in = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
  if (in < 0 || setsockopt(in, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0) die("filter");
  to.sll_protocol = htons(ETH_P_IP);
  if (bind(in, (struct sockaddr *)&to, sizeof to) < 0) die("bind");
}

static void put16(uint8_t *at, unsigned value) {
  at[0] = value >> 8;
  at[1] = value;
}

static void sum(const uint8_t *at, int length, uint8_t *into) {
  uint32_t s = 0;
  for (int i = 0; i < length; i += 2) s += at[i] << 8 | at[i + 1];
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  put16(into, ~s & 0xffff);
}

/* Ethernet and IPv4. */
static void put_headers(uint8_t *f, unsigned length, int protocol, uint32_t source) {
  memcpy(f, mac, 6);
  memcpy(f + 6, own, 6);
  memcpy(f + 12, "\x08\x00\x45\x00\x00\x00\x00\x00\x00\x00\x40\x00", 12);
  put16(f + 16, length - ETH_HLEN);
  f[23] = protocol;
  source = htonl(source);
  memcpy(f + 26, &source, 4);
  memcpy(f + 30, &destination, 4);
  sum(f + 14, 20, f + 24);
}

static void make_flows(unsigned first) {
  if ((flows = calloc(count, sizeof *flows)) == NULL) die("flows");
  for (unsigned i = 0; i < count; i++) {
    uint8_t f[LEAST_BYTES] = { 0 };
    unsigned host = (first + i) / FLOWS_PER_HOST;
    put_headers(f, bytes, IPPROTO_UDP, first_source + host);
    put16(f + AT_PORT, FIRST_PORT + host % PORT_RANGES * FLOWS_PER_HOST + (first + i) % FLOWS_PER_HOST);
    memcpy(&flows[i].source, f + AT_SOURCE, sizeof flows[i].source);
    memcpy(&flows[i].port, f + AT_PORT, sizeof flows[i].port);
    memcpy(&flows[i].sum, f + AT_SUM, sizeof flows[i].sum);
  }
}

static struct ring map_ring(const struct xdp_ring_offset *at, size_t entry, off_t where) {
  uint8_t *base = mmap(NULL, at->desc + BATCH * entry, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fast, where);
  if (base == MAP_FAILED) die("mmap");
  return (struct ring){ (void *)(base + at->producer), (void *)(base + at->consumer), base + at->desc };
}

static void open_fast(int interface) {
  if ((fast = socket(AF_XDP, SOCK_RAW, 0)) < 0) die("AF_XDP");
  chunks = mmap(NULL, BATCH * CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (chunks == MAP_FAILED) die("mmap");
  struct xdp_umem_reg region = { .addr = (uintptr_t)chunks, .len = BATCH * CHUNK_BYTES, .chunk_size = CHUNK_BYTES };
  int slots = BATCH, unused = FILL_SLOTS;
  if (setsockopt(fast, SOL_XDP, XDP_UMEM_REG, &region, sizeof region) < 0) die("XDP_UMEM_REG");
  if (setsockopt(fast, SOL_XDP, XDP_UMEM_FILL_RING, &unused, sizeof unused) < 0) die("XDP_UMEM_FILL_RING");
  if (setsockopt(fast, SOL_XDP, XDP_UMEM_COMPLETION_RING, &slots, sizeof slots) < 0) die("XDP_UMEM_COMPLETION_RING");
  if (setsockopt(fast, SOL_XDP, XDP_TX_RING, &slots, sizeof slots) < 0) die("XDP_TX_RING");
  struct xdp_mmap_offsets offsets;
  socklen_t length = sizeof offsets;
  if (getsockopt(fast, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) < 0) die("XDP_MMAP_OFFSETS");
  tx = map_ring(&offsets.tx, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING);
  done = map_ring(&offsets.cr, sizeof(uint64_t), XDP_UMEM_PGOFF_COMPLETION_RING);
  struct sockaddr_xdp to = { .sxdp_family = AF_XDP, .sxdp_ifindex = interface, .sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP };
  for (int ms = 0; bind(fast, (struct sockaddr *)&to, sizeof to) < 0; ms++) {
    if (errno != EBUSY || ms == BUSY_MS) die("bind of AF_XDP");
    usleep(1000);
  }
  for (int i = 0; i < BATCH; i++) {
    uint8_t *f = chunks + i * CHUNK_BYTES;
    put_headers(f, bytes, IPPROTO_UDP, first_source);
    put16(f + 36, 9);
    put16(f + 38, bytes - ETH_HLEN - 20);
  }
}

/* At most so many of the flows that are next. What the interface cannot take at once it is asked for again. */
static void send_some(unsigned most) {
  struct xdp_desc *entries = tx.entries;
  uint32_t at = *tx.producer;
  for (unsigned i = 0; i < most; i++, at++) {
    uint8_t *f = chunks + i * CHUNK_BYTES;
    const struct flow *flow = &flows[next];
    memcpy(f + AT_SOURCE, &flow->source, sizeof flow->source);
    memcpy(f + AT_PORT, &flow->port, sizeof flow->port);
    memcpy(f + AT_SUM, &flow->sum, sizeof flow->sum);
    entries[at % BATCH] = (struct xdp_desc){ .addr = i * CHUNK_BYTES, .len = bytes };
    if (++next == count) next = 0;
  }
  __atomic_store_n(tx.producer, at, __ATOMIC_RELEASE);
  while (__atomic_load_n(tx.consumer, __ATOMIC_ACQUIRE) != at) {
    if (sendto(fast, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN && errno != EBUSY && errno != ENOBUFS) die("AF_XDP");
  }
  /* They were copied: all chunks are free. */
  __atomic_store_n(done.consumer, __atomic_load_n(done.producer, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
  sent += most;
}

static void send_for(double seconds, double rate) {
  double from = now(), t;
  while ((t = now() - from) < seconds) {
    if (rate == 0 || sent <= t * rate) send_some(BATCH);
  }
}

/* What does not arrive is given up when nothing else does either. */
static void open_all(unsigned window) {
  long start = arrived(), lost = 0, there = 0;
  double moved = now();
  while (there + lost < count) {
    unsigned room = window - (sent - there - lost), left = count - sent, most = room < left ? room : left;
    if (most > 0) send_some(most < BATCH ? most : BATCH);
    long is = arrived() - start;
    double t = now();
    if (is > there) moved = t, there = is;
    else if (t - moved > LOST_AFTER) moved = t, lost = sent - there;
  }
}

static int compare(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static float trips[MOST_PINGS];
static long pings, answered, unanswered;

static void ping(double seconds, double rate, double gap) {
  uint8_t probe[LEAST_BYTES] = { 0 }, reply[LEAST_BYTES];
  put_headers(probe, LEAST_BYTES, IPPROTO_ICMP, first_source);
  probe[34] = 8;
  put16(probe + 38, getpid() & 0xffff);
  double from = now(), t, asked = 0, due = 0;
  int is_waiting = 0;
  while ((t = now() - from) < seconds) {
    if (rate > 0 && sent <= t * rate) send_some(PING_BATCH);
    if (is_waiting) {
      while (is_waiting && recv(in, reply, sizeof reply, 0) > 0) {
        if (memcmp(reply + 38, probe + 38, 4) != 0) continue;
        is_waiting = 0;
        trips[answered++] = now() - from - asked;
      }
      if (is_waiting && t - asked > LOST_AFTER) is_waiting = 0, unanswered++;
    } else if (t >= due && answered < MOST_PINGS) {
      put16(probe + 40, pings++ & 0xffff);
      put16(probe + 36, 0);
      sum(probe + 34, LEAST_BYTES - 34, probe + 36);
      asked = now() - from;
      due = asked + gap;
      is_waiting = send(out, probe, sizeof probe, 0) > 0;
    }
  }
}

int main(int argc, char **argv) {
  const char *mode = argc < 2 ? "" : argv[1];
  int takes = !strcmp(mode, "send") ? 12 : !strcmp(mode, "open") ? 11 : !strcmp(mode, "ping") ? 13 : 0;
  if (argc != takes) return fputs("usage: see blast.c\n", stderr), 2;
  unsigned m[6];
  sscanf(argv[3], "%x:%x:%x:%x:%x:%x", m, m + 1, m + 2, m + 3, m + 4, m + 5);
  for (int i = 0; i < 6; i++) mac[i] = m[i];
  first_source = ntohl(inet_addr(argv[4]));
  destination = inet_addr(argv[5]);
  count = atoi(argv[7]);
  bytes = atoi(argv[8]);
  if (count == 0 || bytes < LEAST_BYTES || bytes > MOST_BYTES) return fputs("blast: such frames are not sent\n", stderr), 2;
  open_counter(argv[9]);
  open_sockets(argv[2]);
  make_flows(atoi(argv[6]));
  open_fast(interface_of(argv[2]));
  long before = arrived();
  double used = processor_ns(), from = now();
  if (takes == 12) send_for(atof(argv[10]), atof(argv[11]));
  else if (takes == 11) open_all(atoi(argv[10]));
  else ping(atof(argv[10]), atof(argv[11]), atof(argv[12]) / 1e6);
  double ns = (now() - from) * 1e9, through = arrived() - before;
  used = processor_ns() - used;
  usleep(DRAIN_US);
  printf("%ld %.0f %ld %.0f %.0f", sent, through, arrived() - before, ns, used);
  if (takes == 13) {
    qsort(trips, answered, sizeof *trips, compare);
    float p50 = answered > 0 ? trips[answered / 2] : 0, p99 = answered > 0 ? trips[(long)(answered * 0.99)] : 0;
    printf(" %ld %ld %.0f %.0f", answered, unanswered, p50 * 1e9, p99 * 1e9);
  }
  puts("");
  return 0;
}
