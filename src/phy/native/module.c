/* The addon of live interfaces: memory for frames, what the system says of an interface, and what the drivers share. */
#include "driver.h"
#include "program.h"
#include <linux/ethtool.h>
#include <linux/if_arp.h>
#include <linux/if_vlan.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

static const char *name_of(int number) {
  switch (number) {
    case EPERM: return "EPERM";
    case EACCES: return "EACCES";
    case EBUSY: return "EBUSY";
    case EEXIST: return "EEXIST";
    case ENODEV: case ENXIO: return "ENODEV";
    case ENOMEM: return "ENOMEM";
    case ENOBUFS: return "ENOBUFS";
    case ENETDOWN: return "ENETDOWN";
    case EINVAL: return "EINVAL";
    case EOPNOTSUPP: return "EOPNOTSUPP";
    case EAFNOSUPPORT: return "EAFNOSUPPORT";
    default: return "ESYSTEM";
  }
}

napi_value fail(napi_env env, const char *what, int number) {
  char text[160];
  snprintf(text, sizeof text, "%s: %s", what, strerror(number));
  napi_throw_error(env, name_of(number), text);
  return NULL;
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

int control(const char *name, unsigned long request, void *asked) {
  struct ifreq *ask = asked;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  strncpy(ask->ifr_name, name, IFNAMSIZ - 1);
  int failed = ioctl(fd, request, ask) < 0 ? errno : 0;
  close(fd);
  return failed;
}

int read_name(napi_env env, napi_value value, char name[IFNAMSIZ]) {
  size_t bytes = 0;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &bytes) != napi_ok || bytes >= IFNAMSIZ) return ENODEV;
  napi_get_value_string_utf8(env, value, name, IFNAMSIZ, &bytes);
  return 0;
}

/* How many queues receive; who says nothing has one. */
static uint32_t queues_of(const char *name) {
  struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
  struct ethtool_rxnfc rings = { .cmd = ETHTOOL_GRXRINGS };
  struct ifreq ask = { .ifr_data = (void *)&channels };
  if (control(name, SIOCETHTOOL, &ask) == 0 && channels.rx_count + channels.combined_count > 0) return channels.rx_count + channels.combined_count;
  ask = (struct ifreq){ .ifr_data = (void *)&rings };
  return control(name, SIOCETHTOOL, &ask) == 0 && rings.data > 0 ? rings.data : 1;
}

static napi_value driver_of(napi_env env, const char *name) {
  struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
  struct ifreq ask = { .ifr_data = (void *)&info };
  napi_value driver;
  if (control(name, SIOCETHTOOL, &ask) != 0) info.driver[0] = 0;
  napi_create_string_utf8(env, info.driver, NAPI_AUTO_LENGTH, &driver);
  return driver;
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
  set(env, result, "queues", queues_of(name));
  napi_set_named_property(env, result, "driver", driver_of(env, name));
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

/* vlan(name): of a VLAN interface of the kernel's, the interface below and the number, as `below` and `vlan`; else undefined. */

static napi_value vlan_of(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument, result, text;
  char name[IFNAMSIZ] = "";
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  if (read_name(env, argument, name) != 0) return NULL;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(env, "socket", errno);
  struct vlan_ioctl_args below = { .cmd = GET_VLAN_REALDEV_NAME_CMD }, vlan = { .cmd = GET_VLAN_VID_CMD };
  memcpy(below.device1, name, sizeof name);
  memcpy(vlan.device1, name, sizeof name);
  int failed = ioctl(fd, SIOCGIFVLAN, &below) < 0 || ioctl(fd, SIOCGIFVLAN, &vlan) < 0;
  close(fd);
  if (failed) return NULL;
  napi_create_object(env, &result);
  napi_create_string_utf8(env, below.u.device2, NAPI_AUTO_LENGTH, &text);
  napi_set_named_property(env, result, "below", text);
  set(env, result, "vlan", vlan.u.VID);
  return result;
}

/*
 * feature(name, feature, value): a feature of `ethtool -k` by the name that the kernel has for it: 1 if it is on, 0 if not, -1 if it is
 * unknown. A `value` of 0 or 1 switches it before that, as far as the interface lets it.
 */

static int place_of(const char *name, const char *feature, uint32_t *features) {
  struct { struct ethtool_sset_info info; uint32_t count; } sets = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1 << ETH_SS_FEATURES } };
  struct ifreq ask = { .ifr_data = (void *)&sets };
  if (control(name, SIOCETHTOOL, &ask) != 0 || sets.info.sset_mask == 0) return -1;
  *features = sets.count;
  struct ethtool_gstrings *strings = calloc(1, sizeof *strings + (size_t)sets.count * ETH_GSTRING_LEN);
  if (strings == NULL) return -1;
  *strings = (struct ethtool_gstrings){ .cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES, .len = sets.count };
  ask = (struct ifreq){ .ifr_data = (void *)strings };
  int place = -1;
  if (control(name, SIOCETHTOOL, &ask) == 0) {
    for (uint32_t i = 0; i < sets.count && place < 0; i++) {
      if (strncmp((char *)strings->data + i * ETH_GSTRING_LEN, feature, ETH_GSTRING_LEN) == 0) place = i;
    }
  }
  free(strings);
  return place;
}

static napi_value feature(napi_env env, napi_callback_info info) {
  enum { MOST_BLOCKS = 8 };
  size_t count = 3;
  napi_value a[3];
  char name[IFNAMSIZ] = "", wanted[ETH_GSTRING_LEN] = "";
  uint32_t features = 0;
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  napi_get_value_string_utf8(env, a[1], wanted, sizeof wanted, NULL);
  int value = int_of(env, a[2]), place = read_name(env, a[0], name) != 0 ? -1 : place_of(name, wanted, &features);
  uint32_t blocks = (features + 31) / 32;
  if (place < 0 || blocks > MOST_BLOCKS) return number_of(env, -1);
  struct ifreq ask;
  if (value >= 0) {
    struct { struct ethtool_sfeatures head; struct ethtool_set_features_block blocks[MOST_BLOCKS]; } to = {
      .head = { .cmd = ETHTOOL_SFEATURES, .size = blocks },
    };
    to.blocks[place / 32].valid = 1u << place % 32;
    to.blocks[place / 32].requested = (uint32_t)(value != 0) << place % 32;
    ask = (struct ifreq){ .ifr_data = (void *)&to };
    int failed = control(name, SIOCETHTOOL, &ask);
    if (failed != 0) return fail(env, "ethtool", failed);
  }
  struct { struct ethtool_gfeatures head; struct ethtool_get_features_block blocks[MOST_BLOCKS]; } is = {
    .head = { .cmd = ETHTOOL_GFEATURES, .size = blocks },
  };
  ask = (struct ifreq){ .ifr_data = (void *)&is };
  if (control(name, SIOCETHTOOL, &ask) != 0) return number_of(env, -1);
  return number_of(env, is.blocks[place / 32].active >> place % 32 & 1);
}

/* spare(index, mac, kernel4, kernel6, vlan): the kernel has no more work with what the box takes there; the descriptor that it hangs on. */

int read_taken(napi_env env, napi_value mac, napi_value kernel4, napi_value kernel6, napi_value vlan, struct taken *taken) {
  size_t count4 = 0, count6 = 0;
  void *words4 = NULL, *words6 = NULL;
  napi_value octet;
  memset(taken, 0, sizeof *taken);
  for (int i = 0; i < 6; i++) {
    napi_get_element(env, mac, i, &octet);
    taken->mac[i] = int_of(env, octet);
  }
  taken->vlan = int_of(env, vlan);
  napi_get_typedarray_info(env, kernel4, NULL, &count4, &words4, NULL, NULL);
  napi_get_typedarray_info(env, kernel6, NULL, &count6, &words6, NULL, NULL);
  taken->count4 = count4;
  taken->count6 = count6 / 4;
  if (taken->count4 > MOST_KERNEL_ADDRESSES || taken->count6 > MOST_KERNEL_ADDRESSES) return EINVAL;
  /* An empty array has no address. */
  if (taken->count4 > 0) memcpy(taken->kernel4, words4, taken->count4 * sizeof *taken->kernel4);
  if (taken->count6 > 0) memcpy(taken->kernel6, words6, taken->count6 * sizeof *taken->kernel6);
  return 0;
}

static napi_value spare(napi_env env, napi_callback_info info) {
  size_t count = 5;
  napi_value a[5];
  static struct taken taken;
  const char *what = "";
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  if (read_taken(env, a[1], a[2], a[3], a[4], &taken) != 0) return fail(env, "spare", EINVAL);
  taken.index = int_of(env, a[0]);
  int link = spare_kernel(&taken, &what);
  return link < 0 ? fail(env, what, errno) : number_of(env, link);
}

/*
 * spin(ns): waits, on the processor, until frames have come or the time is over: a bit for each device, by its number, that has some;
 * eight bits further up those of AF_XDP. By calls of `receive` from JavaScript each look took 0.2 to 0.4 us.
 */

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint32_t all_waiting(void) { return packets_waiting() | xdp_waiting() << MOST_DEVICES; }

static napi_value spin(napi_env env, napi_callback_info info) {
  enum { LOOKS = 16 };
  int64_t ns = only_argument(env, info);
  uint32_t found = all_waiting();
  for (uint64_t until = found == 0 && ns > 0 ? now_ns() + ns : 0; found == 0 && until > now_ns();) {
    for (int i = 0; i < LOOKS && found == 0; i++) found = all_waiting();
  }
  return number_of(env, found);
}

/* Arrays of JavaScript. */

void shared_open(napi_env env, struct shared *s, napi_value columns, napi_value outbox, napi_value counters) {
  napi_value column;
  for (int i = 0; i < COLUMNS; i++) {
    napi_get_element(env, columns, i, &column);
    s->columns[i] = array_of(env, column);
  }
  s->outbox = array_of(env, outbox);
  s->counters = array_of(env, counters);
  napi_value all[] = { columns, outbox, counters };
  for (int i = 0; i < 3; i++) napi_create_reference(env, all[i], 1, &s->references[i]);
}

void shared_close(napi_env env, struct shared *s) {
  for (int i = 0; i < 3; i++) napi_delete_reference(env, s->references[i]);
}

/*
 * Being woken: after `arm`, `wake` is called once when frames wait, or with true when a descriptor has an error. Only until then are
 * descriptors in an epoll: each frame would ask whether to wake, which for AF_XDP took 5 % of the time of who delivers.
 */

void waker_disarm(struct waker *w) {
  for (uint32_t i = 0; i < w->count; i++) uv_poll_stop(w->polls[i]);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  struct waker *w = poll->data;
  (void)events;
  waker_disarm(w);
  napi_handle_scope scope;
  napi_value wake, global, argument, result;
  napi_open_handle_scope(w->env, &scope);
  napi_get_reference_value(w->env, w->wake, &wake);
  napi_get_global(w->env, &global);
  napi_get_boolean(w->env, status < 0, &argument);
  if (napi_make_callback(w->env, w->context, global, wake, 1, &argument, &result) == napi_pending_exception) {
    napi_value error;
    napi_get_and_clear_last_exception(w->env, &error);
    napi_fatal_exception(w->env, error);
  }
  napi_close_handle_scope(w->env, scope);
}

void waker_arm(struct waker *w) {
  for (uint32_t i = 0; i < w->count; i++) uv_poll_start(w->polls[i], UV_READABLE, on_poll);
}

static void on_closed(uv_handle_t *handle) { free(handle); }

static void close_polls(struct waker *w) {
  for (uint32_t i = 0; i < w->count; i++) uv_close((uv_handle_t *)w->polls[i], on_closed);
  w->count = 0;
}

napi_value waker_open(napi_env env, struct waker *w, const int *fds, uint32_t count, napi_value wake) {
  napi_value name;
  uv_loop_t *loop;
  napi_get_uv_event_loop(env, &loop);
  w->env = env;
  for (uint32_t i = 0; i < count; i++) {
    uv_poll_t *poll = malloc(sizeof *poll);
    int failed = poll == NULL ? UV_ENOMEM : uv_poll_init(loop, poll, fds[i]);
    if (failed != 0) {
      free(poll);
      close_polls(w);
      return fail(env, "uv_poll_init", -failed);
    }
    poll->data = w;
    w->polls[w->count++] = poll;
  }
  napi_create_reference(env, wake, 1, &w->wake);
  napi_create_string_utf8(env, "pinhole:device", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, NULL, name, &w->context);
  return NULL;
}

/* Before its descriptors are. */
void waker_close(struct waker *w) {
  if (w->count == 0) return;
  waker_disarm(w);
  close_polls(w);
  napi_delete_reference(w->env, w->wake);
  napi_async_destroy(w->env, w->context);
}

void add_functions(napi_env env, napi_value object, const struct function *functions, size_t count) {
  for (size_t i = 0; i < count; i++) {
    napi_value function;
    napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function);
    napi_set_named_property(env, object, functions[i].name, function);
  }
}

NAPI_MODULE_INIT() {
  static const struct function functions[] = {
    { "reserve", reserve }, { "link", link_of }, { "offload", offload }, { "vlan", vlan_of }, { "feature", feature },
    { "spare", spare }, { "spin", spin },
  };
  add_functions(env, exports, functions, sizeof functions / sizeof *functions);
  add_packet(env, exports);
  add_crew(env, exports);
  add_xdp(env, exports);
  return exports;
}
