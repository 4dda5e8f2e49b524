/*
 * AF_PACKET sockets with TPACKET_V2 rings, for `phy/packet.ts`. The rings of all devices are mapped into one stretch of memory, which
 * JavaScript has as one ArrayBuffer: frames are read and rewritten where the kernel put them. Only batches cross this border: what
 * has come is written into the caller's columns by one call, what is to leave is taken from a list of offsets by another.
 *
 * One thread. What is shared with the kernel are the status words of the slots, and nothing else is ordered by anything else.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <node_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

enum { MOST_DEVICES = 8, BLOCK_BYTES = 1 << 16, TX_DATA = TPACKET2_HDRLEN - sizeof(struct sockaddr_ll) };

/* What `receive` writes, a row a frame, and `counters`; in the order of packet.ts. */
enum { COLUMN_OFF, COLUMN_CAPTURED, COLUMN_WIRE, COLUMN_LINK, COLUMN_INTERFACE, COLUMNS };
enum {
  RECEIVED, RECEIVED_BYTES, TAGGED, OVERSIZED, COMPLETED, RING_DROPS, SENT, SENT_BYTES, SEND_DROPS, SEND_ERRORS, COUNTERS
};

struct device {
  int fd;                         /* -1: closed */
  int number;
  uint8_t *pool, *rx, *tx;
  size_t mapped;
  uint32_t slot_bytes, rx_slots, tx_slots;
  uint32_t head, tail;            /* of the RX ring: next to look at, first that is not given back */
  uint32_t tx_head;
  uint32_t most_bytes;            /* of a frame that the link takes */
  int32_t *columns[COLUMNS];
  int32_t *outbox;                /* pairs: offset in the pool, bytes */
  double *counters;
  napi_ref references[3];
  uv_poll_t *poll;
  napi_env env;
  napi_ref wake;
  napi_async_context context;
};
static struct device devices[MOST_DEVICES];

static const char *name_of(int number) {
  switch (number) {
    case EPERM: return "EPERM";
    case EACCES: return "EACCES";
    case ENODEV: case ENXIO: return "ENODEV";
    case ENOMEM: return "ENOMEM";
    case ENETDOWN: return "ENETDOWN";
    case EINVAL: return "EINVAL";
    case EOPNOTSUPP: return "EOPNOTSUPP";
    default: return "ESYSTEM";
  }
}

static napi_value fail(napi_env env, const char *what, int number) {
  char text[160];
  snprintf(text, sizeof text, "%s: %s", what, strerror(number));
  napi_throw_error(env, name_of(number), text);
  return NULL;
}

static int32_t int_of(napi_env env, napi_value value) {
  int32_t number = 0;
  napi_get_value_int32(env, value, &number);
  return number;
}

static napi_value number_of(napi_env env, double number) {
  napi_value value;
  napi_create_double(env, number, &value);
  return value;
}

/* That whose number is the only argument. */
static struct device *device_of(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value number;
  napi_get_cb_info(env, info, &count, &number, NULL, NULL);
  return &devices[int_of(env, number)];
}

/* reserve(bytes): memory for everything, which rings are mapped into later. */

static void unreserve(napi_env env, void *data, void *hint) {
  (void)env;
  munmap(data, (size_t)hint);
}

static napi_value reserve(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument, buffer;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  int64_t bytes = 0;
  napi_get_value_int64(env, argument, &bytes);
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return fail(env, "mmap", errno);
  if (napi_create_external_arraybuffer(env, at, bytes, unreserve, (void *)bytes, &buffer) != napi_ok) {
    munmap(at, bytes);
    napi_throw_error(env, "EEXTERNAL", "this JavaScript engine takes no memory from outside");
    return NULL;
  }
  return buffer;
}

/* link(name): what the kernel says of an interface. */

static int control(const char *name, unsigned long request, struct ifreq *ask) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  strncpy(ask->ifr_name, name, IFNAMSIZ - 1);
  int failed = ioctl(fd, request, ask) < 0 ? errno : 0;
  close(fd);
  return failed;
}

static int read_name(napi_env env, napi_value value, char name[IFNAMSIZ]) {
  size_t bytes = 0;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &bytes) != napi_ok || bytes >= IFNAMSIZ) return ENODEV;
  napi_get_value_string_utf8(env, value, name, IFNAMSIZ, &bytes);
  return 0;
}

static void set(napi_env env, napi_value object, const char *key, double number) {
  napi_set_named_property(env, object, key, number_of(env, number));
}

static napi_value link_of(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument, result, mac;
  char name[IFNAMSIZ] = "";
  struct ifreq ask = { 0 };
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  int failed = read_name(env, argument, name);
  if (failed == 0) failed = control(name, SIOCGIFINDEX, &ask);
  if (failed != 0) return fail(env, "no such interface", failed);
  napi_create_object(env, &result);
  set(env, result, "index", ask.ifr_ifindex);
  if ((failed = control(name, SIOCGIFMTU, &ask)) != 0) return fail(env, "SIOCGIFMTU", failed);
  set(env, result, "mtu", ask.ifr_mtu);
  if ((failed = control(name, SIOCGIFFLAGS, &ask)) != 0) return fail(env, "SIOCGIFFLAGS", failed);
  set(env, result, "isUp", (ask.ifr_flags & IFF_UP) != 0);
  if ((failed = control(name, SIOCGIFHWADDR, &ask)) != 0) return fail(env, "SIOCGIFHWADDR", failed);
  set(env, result, "isEthernet", ask.ifr_hwaddr.sa_family == ARPHRD_ETHER);
  napi_create_array_with_length(env, 6, &mac);
  for (int i = 0; i < 6; i++) napi_set_element(env, mac, i, number_of(env, (uint8_t)ask.ifr_hwaddr.sa_data[i]));
  napi_set_named_property(env, result, "mac", mac);
  return result;
}

/* offload(name, command, value): asks with a `get` command of ethtool, and with a `set` command tells. -1: not supported. */

static napi_value offload(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value arguments[3];
  char name[IFNAMSIZ] = "";
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  struct ethtool_value value = { .cmd = int_of(env, arguments[1]), .data = int_of(env, arguments[2]) };
  struct ifreq ask = { .ifr_data = (void *)&value };
  int failed = read_name(env, arguments[0], name);
  if (failed == 0) failed = control(name, SIOCETHTOOL, &ask);
  if (failed == EOPNOTSUPP || failed == EINVAL) return number_of(env, -1);
  return failed != 0 ? fail(env, "ethtool", failed) : number_of(env, value.data);
}

/* open(number, buffer, at, name, slotBytes, rxSlots, txSlots, columns, outbox, counters): binds a socket and maps its rings. */

static int open_socket(struct device *d, uint8_t *at, const char *name, const char **what) {
  *what = "socket";
  d->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (d->fd < 0) return errno;
  int version = TPACKET_V2, yes = 1;
  *what = "TPACKET_V2";
  if (setsockopt(d->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) < 0) return errno;
  /* The filter below does the same where the kernel is too old. */
  setsockopt(d->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes);
  *what = "PACKET_LOSS";
  if (setsockopt(d->fd, SOL_PACKET, PACKET_LOSS, &yes, sizeof yes) < 0) return errno;
  setsockopt(d->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof yes);
  struct tpacket_req rx = {
    .tp_block_size = BLOCK_BYTES, .tp_frame_size = d->slot_bytes, .tp_frame_nr = d->rx_slots,
    .tp_block_nr = (uint64_t)d->rx_slots * d->slot_bytes / BLOCK_BYTES,
  }, tx = rx;
  tx.tp_frame_nr = d->tx_slots;
  tx.tp_block_nr = (uint64_t)d->tx_slots * d->slot_bytes / BLOCK_BYTES;
  *what = "PACKET_RX_RING";
  if (setsockopt(d->fd, SOL_PACKET, PACKET_RX_RING, &rx, sizeof rx) < 0) return errno;
  *what = "PACKET_TX_RING";
  if (setsockopt(d->fd, SOL_PACKET, PACKET_TX_RING, &tx, sizeof tx) < 0) return errno;
  d->mapped = (size_t)(d->rx_slots + d->tx_slots) * d->slot_bytes;
  *what = "mmap";
  if (mmap(at, d->mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, d->fd, 0) == MAP_FAILED) return errno;
  d->rx = at;
  d->tx = at + (size_t)d->rx_slots * d->slot_bytes;
  /* Frames that are not for this box, when somebody has made the interface promiscuous, and those that it sends itself. */
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, PACKET_MULTICAST, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0),
    BPF_STMT(BPF_RET | BPF_K, 0x40000),
  };
  struct sock_fprog filter = { .len = sizeof code / sizeof *code, .filter = code };
  *what = "SO_ATTACH_FILTER";
  if (setsockopt(d->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0) return errno;
  struct ifreq ask = { 0 };
  *what = "no such interface";
  int failed = control(name, SIOCGIFINDEX, &ask);
  if (failed != 0) return failed;
  int index = ask.ifr_ifindex;
  *what = "SIOCGIFMTU";
  if ((failed = control(name, SIOCGIFMTU, &ask)) != 0) return failed;
  d->most_bytes = ask.ifr_mtu + ETH_HLEN;
  struct packet_mreq all = { .mr_ifindex = index, .mr_type = PACKET_MR_ALLMULTI };
  *what = "PACKET_ADD_MEMBERSHIP";
  if (setsockopt(d->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) < 0) return errno;
  struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index };
  *what = "bind";
  return bind(d->fd, (struct sockaddr *)&to, sizeof to) < 0 ? errno : 0;
}

static void *array_of(napi_env env, napi_value array) {
  void *data = NULL;
  napi_get_typedarray_info(env, array, NULL, NULL, &data, NULL, NULL);
  return data;
}

/* Gives the memory back to the reserve, so that a frame that somebody still looks at is zeros and no fault. */
static void unmap(struct device *d) {
  if (d->rx != NULL) mmap(d->rx, d->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  d->rx = d->tx = NULL;
  if (d->fd >= 0) close(d->fd);
  d->fd = -1;
}

static napi_value open_device(napi_env env, napi_callback_info info) {
  size_t count = 10;
  napi_value a[10], column;
  char name[IFNAMSIZ] = "";
  void *pool = NULL;
  size_t bytes = 0;
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  int number = int_of(env, a[0]);
  int64_t at = 0;
  napi_get_arraybuffer_info(env, a[1], &pool, &bytes);
  napi_get_value_int64(env, a[2], &at);
  if (number < 0 || number >= MOST_DEVICES || pool == NULL) return fail(env, "open", EINVAL);
  if (read_name(env, a[3], name) != 0) return fail(env, "no such interface", ENODEV);
  struct device *d = &devices[number];
  memset(d, 0, sizeof *d);
  d->fd = -1;
  d->number = number;
  d->env = env;
  d->pool = pool;
  d->slot_bytes = int_of(env, a[4]);
  d->rx_slots = int_of(env, a[5]);
  d->tx_slots = int_of(env, a[6]);
  if (at < 0 || at + (int64_t)(d->rx_slots + d->tx_slots) * d->slot_bytes > (int64_t)bytes) return fail(env, "open", EINVAL);
  const char *what = "";
  int failed = open_socket(d, d->pool + at, name, &what);
  if (failed != 0) {
    unmap(d);
    return fail(env, what, failed);
  }
  for (int i = 0; i < COLUMNS; i++) {
    napi_get_element(env, a[7], i, &column);
    d->columns[i] = array_of(env, column);
  }
  d->outbox = array_of(env, a[8]);
  d->counters = array_of(env, a[9]);
  for (int i = 0; i < 3; i++) napi_create_reference(env, a[7 + i], 1, &d->references[i]);
  return NULL;
}

/* receive(number, from, most): rows from `from` on; returns how many. Frames stay where they are until `release`. */

static uint32_t fold(uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return (uint32_t)sum;
}

/* A checksum that was left to the hardware holds the sum of the pseudo header; the sum over all of the rest completes it. */
static int complete(uint8_t *frame, uint32_t bytes) {
  if (bytes < ETH_HLEN + 28) return 0;
  uint8_t *p = frame + ETH_HLEN, *end = frame + bytes, *l4;
  uint16_t type = frame[12] << 8 | frame[13];
  uint8_t protocol;
  if (type == ETH_P_IP) {
    l4 = p + ((p[0] & 15) << 2);
    uint8_t *stated = p + (p[2] << 8 | p[3]);
    if (stated < end) end = stated;
    protocol = p[9];
  } else if (type == ETH_P_IPV6) {
    l4 = p + 40;
    uint8_t *stated = l4 + (p[4] << 8 | p[5]);
    if (stated < end) end = stated;
    protocol = p[6];
    while ((protocol == 0 || protocol == 43 || protocol == 60) && l4 + 8 <= end) {
      protocol = l4[0];
      l4 += (l4[1] + 1) << 3;
    }
  } else return 0;
  int at = protocol == 6 ? 16 : protocol == 17 ? 6 : -1;
  if (at < 0 || l4 + at + 2 > end) return 0;
  uint64_t sum = 0;
  uint8_t *q = l4;
  for (; q + 1 < end; q += 2) sum += q[0] << 8 | q[1];
  if (q < end) sum += q[0] << 8;
  uint32_t checksum = ~fold(sum) & 0xffff;
  if (checksum == 0 && protocol == 17) checksum = 0xffff;
  l4[at] = checksum >> 8;
  l4[at + 1] = checksum;
  return 1;
}

static napi_value receive(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value a[3];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct device *d = &devices[int_of(env, a[0])];
  int32_t row = int_of(env, a[1]), first = row, end = row + int_of(env, a[2]);
  if (d->fd < 0) return number_of(env, 0);
  int32_t **columns = d->columns;
  double bytes = 0;
  while (row < end && d->head - d->tail < d->rx_slots) {
    struct tpacket2_hdr *slot = (void *)(d->rx + (size_t)(d->head % d->rx_slots) * d->slot_bytes);
    uint32_t status = __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);
    if ((status & TP_STATUS_USER) == 0) break;
    d->head++;
    if ((status & TP_STATUS_VLAN_VALID) != 0 && (slot->tp_vlan_tci & 0xfff) != 0) {
      d->counters[TAGGED]++;
      continue;
    }
    if (slot->tp_len > d->most_bytes || slot->tp_snaplen < slot->tp_len) {
      d->counters[OVERSIZED]++;
      continue;
    }
    uint8_t *frame = (uint8_t *)slot + slot->tp_mac;
    if ((status & TP_STATUS_CSUMNOTREADY) != 0) d->counters[COMPLETED] += complete(frame, slot->tp_snaplen);
    columns[COLUMN_OFF][row] = frame - d->pool;
    columns[COLUMN_CAPTURED][row] = slot->tp_snaplen;
    columns[COLUMN_WIRE][row] = slot->tp_len;
    columns[COLUMN_LINK][row] = 1;
    columns[COLUMN_INTERFACE][row] = d->number;
    bytes += slot->tp_len;
    row++;
  }
  d->counters[RECEIVED] += row - first;
  d->counters[RECEIVED_BYTES] += bytes;
  return number_of(env, row - first);
}

/* release(number): gives every slot back that was looked at. In order, or the kernel would come round to one too early. */
static napi_value release(napi_env env, napi_callback_info info) {
  struct device *d = device_of(env, info);
  if (d->fd < 0) return NULL;
  for (; d->tail != d->head; d->tail++) {
    struct tpacket2_hdr *slot = (void *)(d->rx + (size_t)(d->tail % d->rx_slots) * d->slot_bytes);
    __atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
  }
  return NULL;
}

/* stage(number, count): copies frames of the outbox into slots. kick(number): has the kernel send them; 0, or what failed. */

static int kick_now(struct device *d) {
  if (sendto(d->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0) return 0;
  if (errno != EAGAIN && errno != ENOBUFS) d->counters[SEND_ERRORS]++;
  return errno;
}

static struct tpacket2_hdr *free_slot(struct device *d) {
  struct tpacket2_hdr *slot = (void *)(d->tx + (size_t)(d->tx_head % d->tx_slots) * d->slot_bytes);
  uint32_t status = __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);
  return (status & (TP_STATUS_SEND_REQUEST | TP_STATUS_SENDING)) == 0 ? slot : NULL;
}

static napi_value stage(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value a[2];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct device *d = &devices[int_of(env, a[0])];
  int32_t frames = int_of(env, a[1]);
  if (d->fd < 0) return NULL;
  double all = 0;
  for (int32_t i = 0; i < frames; i++) {
    uint32_t bytes = d->outbox[2 * i + 1];
    struct tpacket2_hdr *slot = free_slot(d);
    if (slot == NULL) {
      kick_now(d);
      slot = free_slot(d);
    }
    if (slot == NULL || bytes > d->slot_bytes - TX_DATA) {
      d->counters[SEND_DROPS]++;
      continue;
    }
    memcpy((uint8_t *)slot + TX_DATA, d->pool + d->outbox[2 * i], bytes);
    slot->tp_len = bytes;
    __atomic_store_n(&slot->tp_status, TP_STATUS_SEND_REQUEST, __ATOMIC_RELEASE);
    d->tx_head++;
    d->counters[SENT]++;
    all += bytes;
  }
  d->counters[SENT_BYTES] += all;
  return NULL;
}

static napi_value kick(napi_env env, napi_callback_info info) {
  struct device *d = device_of(env, info);
  return number_of(env, d->fd < 0 ? 0 : kick_now(d));
}

/* statistics(number): brings RING_DROPS up to date. failure(number): the pending error of the socket, as a text, or undefined. */

static napi_value statistics(napi_env env, napi_callback_info info) {
  struct device *d = device_of(env, info);
  struct tpacket_stats stats;
  socklen_t bytes = sizeof stats;
  if (d->fd >= 0 && getsockopt(d->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &bytes) == 0) d->counters[RING_DROPS] += stats.tp_drops;
  return NULL;
}

static napi_value failure(napi_env env, napi_callback_info info) {
  napi_value text = NULL;
  struct device *d = device_of(env, info);
  int failed = 0;
  socklen_t bytes = sizeof failed;
  if (d->fd < 0 || getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &failed, &bytes) < 0 || failed == 0) return NULL;
  const char *said = strerror(failed);
  napi_create_string_utf8(env, said, NAPI_AUTO_LENGTH, &text);
  return text;
}

/* watch(number, wake): from then on `arm` has `wake` called once when frames wait, or with true when the socket has an error. */

static void on_poll(uv_poll_t *poll, int status, int events) {
  struct device *d = poll->data;
  (void)events;
  uv_poll_stop(poll);
  napi_handle_scope scope;
  napi_value wake, global, argument, result;
  napi_open_handle_scope(d->env, &scope);
  napi_get_reference_value(d->env, d->wake, &wake);
  napi_get_global(d->env, &global);
  napi_get_boolean(d->env, status < 0, &argument);
  if (napi_make_callback(d->env, d->context, global, wake, 1, &argument, &result) == napi_pending_exception) {
    napi_value error;
    napi_get_and_clear_last_exception(d->env, &error);
    napi_fatal_exception(d->env, error);
  }
  napi_close_handle_scope(d->env, scope);
}

static napi_value watch(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value a[2], name;
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct device *d = &devices[int_of(env, a[0])];
  uv_loop_t *loop;
  napi_get_uv_event_loop(env, &loop);
  d->poll = malloc(sizeof *d->poll);
  int failed = d->poll == NULL ? UV_ENOMEM : uv_poll_init(loop, d->poll, d->fd);
  if (failed != 0) {
    free(d->poll);
    d->poll = NULL;
    return fail(env, "uv_poll_init", -failed);
  }
  d->poll->data = d;
  napi_create_reference(env, a[1], 1, &d->wake);
  napi_create_string_utf8(env, "pinhole:packet", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, NULL, name, &d->context);
  return NULL;
}

static napi_value arm(napi_env env, napi_callback_info info) {
  struct device *d = device_of(env, info);
  if (d->poll != NULL) uv_poll_start(d->poll, UV_READABLE, on_poll);
  return NULL;
}

static napi_value disarm(napi_env env, napi_callback_info info) {
  struct device *d = device_of(env, info);
  if (d->poll != NULL) uv_poll_stop(d->poll);
  return NULL;
}

static void on_closed(uv_handle_t *handle) { free(handle); }

static napi_value close_device(napi_env env, napi_callback_info info) {
  struct device *d = device_of(env, info);
  if (d->fd < 0) return NULL;
  if (d->poll != NULL) {
    uv_poll_stop(d->poll);
    uv_close((uv_handle_t *)d->poll, on_closed);
    napi_delete_reference(env, d->wake);
    napi_async_destroy(env, d->context);
    d->poll = NULL;
  }
  for (int i = 0; i < 3; i++) napi_delete_reference(env, d->references[i]);
  unmap(d);
  return NULL;
}

NAPI_MODULE_INIT() {
  static const struct { const char *name; napi_callback call; } functions[] = {
    { "reserve", reserve }, { "link", link_of }, { "offload", offload }, { "open", open_device }, { "receive", receive },
    { "release", release }, { "stage", stage }, { "kick", kick }, { "statistics", statistics }, { "failure", failure },
    { "watch", watch }, { "arm", arm }, { "disarm", disarm }, { "close", close_device },
  };
  for (int i = 0; i < MOST_DEVICES; i++) devices[i].fd = -1;
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function);
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}
