/*
 * TCP connections for one call of JavaScript a look: all sockets that have something are read, into one room, and `look` is told
 * of them together. Node's streams call for each, with a view, two objects and a queue of ticks; and write by a request that is an
 * object, too. A process has one set of streams, which is its first thread's.
 *
 *   begin(room, rows, look)        once: octets lie in `room` and a row says what has come on which stream, both until `look` returns
 *   take(fd)                       a stream of its own on that socket, which wants nothing yet: its number
 *   send(number, bytes, from, to)  how many octets the system took, or minus the number of an error
 *   want(number, what)             1 to be told of octets, 2 of room for more of them to send, 3 of both
 *   finish(number)                 no more will be sent
 *   close(number)
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <errno.h>
#include <fcntl.h>
#include <node_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

/* As many sockets as libuv asks for in a look, and octets of one. With less room than that last, what has come is told first. */
enum { MOST_EVENTS = 1024, MOST_BYTES = 65536, LEAST_ROOM_BYTES = 4096 };

/* A row, and what has come; in the order of streams.ts. A socket can have two. */
enum { ROW_NUMBER, ROW_KIND, ROW_OFF, ROW_BYTES, ROW_WORDS };
enum { OCTETS, END, FAILURE, SENDABLE };
enum { WANT_OCTETS = 1, WANT_SENDABLE = 2 };

struct stream {
  int fd;                         /* -1: free, and `next` is the next free one */
  uint32_t wants;                 /* in the epoll unless that is 0: with a hangup it would never rest */
  int32_t next;
};

static struct {
  napi_env env;                   /* NULL: not begun */
  napi_ref look, arrays[2];
  napi_async_context context;
  uv_poll_t poll;
  int epoll;
  uint8_t *room;
  size_t room_bytes;
  int32_t *rows;
  struct stream *all;
  int32_t count, free, open;
  int32_t resting;                /* free once the look is over, whose rows may still name them */
  int is_looking;
} streams = { .epoll = -1, .free = -1, .resting = -1 };

static napi_value fail(napi_env env, const char *what, int number) {
  char text[160];
  snprintf(text, sizeof text, "%s: %s", what, strerror(number));
  napi_throw_error(env, uv_err_name(-number), text);
  return NULL;
}

static int32_t int_of(napi_env env, napi_value value) {
  int32_t number = 0;
  napi_get_value_int32(env, value, &number);
  return number;
}

static napi_value number_of(napi_env env, int32_t number) {
  napi_value value;
  napi_create_int32(env, number, &value);
  return value;
}

static void want_now(int32_t number, uint32_t wants) {
  struct stream *s = &streams.all[number];
  if (s->wants == wants) return;
  struct epoll_event event = {
    .events = (wants & WANT_OCTETS ? EPOLLIN : 0u) | (wants & WANT_SENDABLE ? EPOLLOUT : 0u),
    .data.u32 = (uint32_t)number,
  };
  int operation = wants == 0 ? EPOLL_CTL_DEL : s->wants == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  /* It fails only without memory in the kernel: then it is asked for again by the next change, and time limits end who waits. */
  if (epoll_ctl(streams.epoll, operation, s->fd, &event) == 0) s->wants = wants;
}

static void tell(int32_t rows) {
  napi_env env = streams.env;
  napi_handle_scope scope;
  napi_value look, global, result, argument;
  napi_open_handle_scope(env, &scope);
  napi_get_reference_value(env, streams.look, &look);
  napi_get_global(env, &global);
  argument = number_of(env, rows);
  if (napi_make_callback(env, streams.context, global, look, 1, &argument, &result) == napi_pending_exception) {
    napi_value error;
    napi_get_and_clear_last_exception(env, &error);
    napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

/* A row of what reading a socket gave; 0: nothing after all. */
static int read_stream(int32_t number, int32_t *row, size_t at) {
  size_t most = streams.room_bytes - at;
  ssize_t bytes = recv(streams.all[number].fd, streams.room + at, most < MOST_BYTES ? most : MOST_BYTES, MSG_DONTWAIT);
  if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  row[ROW_NUMBER] = number;
  row[ROW_KIND] = bytes > 0 ? OCTETS : bytes == 0 ? END : FAILURE;
  row[ROW_OFF] = (int32_t)at;
  row[ROW_BYTES] = bytes > 0 ? (int32_t)bytes : 0;
  /* Nothing more comes, which would be told for ever. */
  if (bytes <= 0) want_now(number, bytes == 0 ? streams.all[number].wants & ~WANT_OCTETS : 0);
  return 1;
}

static void give_back(int32_t number, int32_t *list) {
  streams.all[number].next = *list;
  *list = number;
}

/* Each socket that has something once, those first that have waited longest. */
static void on_ready(uv_poll_t *poll, int status, int ready) {
  (void)poll; (void)status; (void)ready;
  static struct epoll_event events[MOST_EVENTS];
  int found = epoll_wait(streams.epoll, events, MOST_EVENTS, 0);
  int32_t rows = 0;
  size_t at = 0;
  streams.is_looking = 1;
  for (int i = 0; i < found; i++) {
    int32_t number = (int32_t)events[i].data.u32;
    struct stream *s = &streams.all[number];
    uint32_t is = events[i].events, broken = is & (EPOLLHUP | EPOLLERR);
    if (s->fd < 0) continue;
    if ((s->wants & WANT_OCTETS) && (is & EPOLLIN || broken) && read_stream(number, streams.rows + rows * ROW_WORDS, at)) {
      at += (size_t)streams.rows[rows * ROW_WORDS + ROW_BYTES];
      rows++;
    }
    if ((s->wants & WANT_SENDABLE) && (is & EPOLLOUT || broken)) {
      int32_t *row = streams.rows + rows++ * ROW_WORDS;
      row[ROW_NUMBER] = number;
      row[ROW_KIND] = SENDABLE;
    }
    if (streams.room_bytes - at >= LEAST_ROOM_BYTES) continue;
    tell(rows);
    rows = 0;
    at = 0;
  }
  if (rows > 0) tell(rows);
  streams.is_looking = 0;
  while (streams.resting >= 0) {
    int32_t number = streams.resting;
    streams.resting = streams.all[number].next;
    give_back(number, &streams.free);
  }
}

static napi_value begin(napi_env env, napi_callback_info info) {
  size_t count = 3, length = 0;
  napi_value a[3], name;
  void *room = NULL, *rows = NULL;
  uv_loop_t *loop;
  if (streams.env != NULL) return fail(env, "begin", EBUSY);
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  napi_get_typedarray_info(env, a[0], NULL, &streams.room_bytes, &room, NULL, NULL);
  napi_get_typedarray_info(env, a[1], NULL, &length, &rows, NULL, NULL);
  if (room == NULL || streams.room_bytes < MOST_BYTES || rows == NULL || length < 2 * MOST_EVENTS * ROW_WORDS) {
    return fail(env, "begin", EINVAL);
  }
  streams.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (streams.epoll < 0) return fail(env, "epoll_create1", errno);
  napi_get_uv_event_loop(env, &loop);
  int failed = uv_poll_init(loop, &streams.poll, streams.epoll);
  if (failed != 0) {
    close(streams.epoll);
    return fail(env, "uv_poll_init", -failed);
  }
  streams.room = room;
  streams.rows = rows;
  for (int i = 0; i < 2; i++) napi_create_reference(env, a[i], 1, &streams.arrays[i]);
  napi_create_reference(env, a[2], 1, &streams.look);
  napi_create_string_utf8(env, "pinhole:streams", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, NULL, name, &streams.context);
  streams.env = env;
  return NULL;
}

/* Room for twice as many. */
static int grow(void) {
  int32_t count = streams.count == 0 ? 64 : 2 * streams.count;
  struct stream *all = realloc(streams.all, (size_t)count * sizeof *all);
  if (all == NULL) return -1;
  for (int32_t i = count - 1; i >= streams.count; i--) {
    all[i] = (struct stream){ .fd = -1, .next = streams.free };
    streams.free = i;
  }
  streams.all = all;
  streams.count = count;
  return 0;
}

static napi_value take(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value a;
  napi_get_cb_info(env, info, &count, &a, NULL, NULL);
  if (streams.env != env) return fail(env, "take", EINVAL);
  if (streams.free < 0 && grow() < 0) return fail(env, "take", ENOMEM);
  int fd = fcntl(int_of(env, a), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return fail(env, "fcntl", errno);
  int32_t number = streams.free;
  struct stream *s = &streams.all[number];
  s->fd = fd;
  s->wants = 0;
  streams.free = s->next;
  /* The process lives as long as there is one. */
  if (streams.open++ == 0) uv_poll_start(&streams.poll, UV_READABLE, on_ready);
  return number_of(env, number);
}

/* The number that is the first argument; NULL: there is no such stream. */
static struct stream *stream_of(napi_env env, napi_value value) {
  int32_t number = int_of(env, value);
  return number >= 0 && number < streams.count && streams.all[number].fd >= 0 ? &streams.all[number] : NULL;
}

static napi_value send_octets(napi_env env, napi_callback_info info) {
  size_t count = 4, length = 0;
  napi_value a[4];
  void *bytes = NULL;
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct stream *s = stream_of(env, a[0]);
  napi_get_typedarray_info(env, a[1], NULL, &length, &bytes, NULL, NULL);
  int32_t from = int_of(env, a[2]), to = int_of(env, a[3]);
  if (s == NULL || from < 0 || from > to || (size_t)to > length) return number_of(env, -EINVAL);
  ssize_t sent;
  do sent = send(s->fd, (uint8_t *)bytes + from, (size_t)(to - from), MSG_DONTWAIT | MSG_NOSIGNAL); while (sent < 0 && errno == EINTR);
  return number_of(env, sent >= 0 ? (int32_t)sent : errno == EAGAIN ? 0 : -errno);
}

static napi_value want(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value a[2];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  struct stream *s = stream_of(env, a[0]);
  if (s != NULL) want_now((int32_t)(s - streams.all), (uint32_t)int_of(env, a[1]) & (WANT_OCTETS | WANT_SENDABLE));
  return NULL;
}

static struct stream *only_stream(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value a;
  napi_get_cb_info(env, info, &count, &a, NULL, NULL);
  return stream_of(env, a);
}

static napi_value finish(napi_env env, napi_callback_info info) {
  struct stream *s = only_stream(env, info);
  if (s != NULL) shutdown(s->fd, SHUT_WR);
  return NULL;
}

static napi_value close_stream(napi_env env, napi_callback_info info) {
  struct stream *s = only_stream(env, info);
  if (s == NULL) return NULL;
  want_now((int32_t)(s - streams.all), 0);
  close(s->fd);
  s->fd = -1;
  give_back((int32_t)(s - streams.all), streams.is_looking ? &streams.resting : &streams.free);
  if (--streams.open == 0) uv_poll_stop(&streams.poll);
  return NULL;
}

NAPI_MODULE_INIT() {
  static const struct { const char *name; napi_callback call; } functions[] = {
    { "begin", begin }, { "take", take }, { "send", send_octets }, { "want", want }, { "finish", finish }, { "close", close_stream },
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function);
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}
