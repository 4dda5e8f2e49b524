/* What the drivers of live interfaces share: values of JavaScript, errors, the columns of frames, and being woken. */
#ifndef PINHOLE_DRIVER_H
#define PINHOLE_DRIVER_H
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <errno.h>
#include <net/if.h>
#include <node_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum { MOST_DEVICES = 8, MOST_POLLS = 16 };

/* What `receive` writes, a row a frame, and `counters`; in the order of DEVICE_COUNTERS of device.ts. */
enum { COLUMN_OFF, COLUMN_CAPTURED, COLUMN_WIRE, COLUMN_LINK, COLUMN_INTERFACE, COLUMNS };
enum {
  RECEIVED, RECEIVED_BYTES, TAGGED, UNTAGGED, PRIORITY_TAGGED, SERVICE_TAGGED, OVERSIZED, SEGMENTED, UNSEGMENTED, COMPLETED, RING_DROPS, SENT, SENT_BYTES, SEND_DROPS, SEND_ERRORS,
  COUNTERS
};

/* Arrays of JavaScript that a device reads and writes, for as long as it is open. */
struct shared {
  int32_t *columns[COLUMNS];
  int32_t *outbox;                /* pairs: offset in the pool, bytes */
  double *counters;
  napi_ref references[3];
};

/* Has JavaScript called once one of some descriptors is readable, or has an error. */
struct waker {
  uv_poll_t *polls[MOST_POLLS];
  uint32_t count;                 /* 0: closed */
  napi_env env;
  napi_ref wake;
  napi_async_context context;
};

/* module.c */
napi_value fail(napi_env env, const char *what, int number);
int control(const char *name, unsigned long request, void *asked);
int read_name(napi_env env, napi_value value, char name[IFNAMSIZ]);
void shared_open(napi_env env, struct shared *s, napi_value columns, napi_value outbox, napi_value counters);
void shared_close(napi_env env, struct shared *s);
napi_value waker_open(napi_env env, struct waker *w, const int *fds, uint32_t count, napi_value wake);
void waker_arm(struct waker *w);
void waker_disarm(struct waker *w);
void waker_close(struct waker *w);
struct taken;
int read_taken(napi_env env, napi_value mac, napi_value kernel4, napi_value kernel6, napi_value vlan, struct taken *taken);

struct function { const char *name; napi_callback call; };
void add_functions(napi_env env, napi_value object, const struct function *functions, size_t count);

/* packet.c, xdp.c: a bit for each device, by its number, that `receive` has something to do for. */
uint32_t packets_waiting(void);
uint32_t xdp_waiting(void);

/* packet.c, xdp.c, crew.c */
void add_packet(napi_env env, napi_value exports);
void add_crew(napi_env env, napi_value exports);
void add_xdp(napi_env env, napi_value exports);

static inline int32_t int_of(napi_env env, napi_value value) {
  int32_t number = 0;
  napi_get_value_int32(env, value, &number);
  return number;
}

static inline napi_value number_of(napi_env env, double number) {
  napi_value value;
  napi_create_double(env, number, &value);
  return value;
}

static inline void *array_of(napi_env env, napi_value array) {
  void *data = NULL;
  napi_get_typedarray_info(env, array, NULL, NULL, &data, NULL, NULL);
  return data;
}

static inline void set(napi_env env, napi_value object, const char *key, double number) {
  napi_set_named_property(env, object, key, number_of(env, number));
}

/* The number that is the only argument. */
static inline int only_argument(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value number;
  napi_get_cb_info(env, info, &count, &number, NULL, NULL);
  return int_of(env, number);
}
#endif
