/* What the processes of a box with several workers have in common: memory, and bells that wake who sleeps. */
#include "driver.h"
#include <sys/eventfd.h>
#include <sys/mman.h>

enum { PAGE = 1 << 16 };

/* memory(bytes): a descriptor of memory that processes share. share(buffer, at, fd, bytes): maps it into a reserve. */

static napi_value memory(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument;
  int64_t bytes = 0;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  napi_get_value_int64(env, argument, &bytes);
  int fd = memfd_create("pinhole", MFD_CLOEXEC);
  if (fd < 0) return fail(env, "memfd_create", errno);
  if (ftruncate(fd, bytes) == 0) return number_of(env, fd);
  int failed = errno;
  close(fd);
  return fail(env, "ftruncate", failed);
}

static napi_value share(napi_env env, napi_callback_info info) {
  size_t count = 4, size = 0;
  napi_value a[4];
  void *pool = NULL;
  int64_t at = 0, bytes = 0;
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  napi_get_arraybuffer_info(env, a[0], &pool, &size);
  napi_get_value_int64(env, a[1], &at);
  napi_get_value_int64(env, a[3], &bytes);
  if (pool == NULL || at < 0 || at % PAGE != 0 || at + bytes > (int64_t)size) return fail(env, "share", EINVAL);
  void *mapped = mmap((uint8_t *)pool + at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, int_of(env, a[2]), 0);
  return mapped == MAP_FAILED ? fail(env, "mmap", errno) : NULL;
}

/* bell(): a descriptor that wakes whoever hears it. ring(fd): does that. */

static napi_value bell(napi_env env, napi_callback_info info) {
  (void)info;
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd < 0 ? fail(env, "eventfd", errno) : number_of(env, fd);
}

static napi_value ring(napi_env env, napi_callback_info info) {
  uint64_t one = 1;
  /* It can only fail because it is rung already. */
  if (write(only_argument(env, info), &one, sizeof one) < 0) return NULL;
  return NULL;
}

/* hear(fd, wake): `wake` is called once it is rung, and again after `listen()`. A process hears one bell, which keeps it not alive. */

static struct { int fd; struct waker waker; } heard = { .fd = -1 };

static napi_value listen_again(napi_env env, napi_callback_info info) {
  (void)env;
  (void)info;
  uint64_t rung;
  while (read(heard.fd, &rung, sizeof rung) > 0) { /* all of it */ }
  waker_arm(&heard.waker);
  return NULL;
}

static napi_value hear(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value a[2];
  napi_get_cb_info(env, info, &count, a, NULL, NULL);
  heard.fd = int_of(env, a[0]);
  napi_value failed = waker_open(env, &heard.waker, &heard.fd, 1, a[1]);
  if (heard.waker.count == 0) return failed;
  uv_unref((uv_handle_t *)heard.waker.polls[0]);
  waker_arm(&heard.waker);
  return NULL;
}

void add_crew(napi_env env, napi_value exports) {
  static const struct function functions[] = {
    { "memory", memory }, { "share", share }, { "bell", bell }, { "ring", ring }, { "hear", hear }, { "listen", listen_again },
  };
  add_functions(env, exports, functions, sizeof functions / sizeof *functions);
}
