/*
 * Classic pcap in (both byte orders, stamps in µs and ns, the modified format), pcapng out as src/phy/pcapng-writer.ts
 * writes it, byte for byte.
 */
#ifndef NATBASE_CAPTURE_H
#define NATBASE_CAPTURE_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine.h"

#define MAX_PACKET_BYTES 262144
#define READ_BYTES (1 << 20)
#define NS_PER_SEC 1000000000ull

typedef struct {
  int fd;
  u8 *buffer;                   /* room for a record that straddles two reads, then for a read */
  size_t size, pos, end;
  u64 base;                     /* file offset of buffer[0] */
  int swapped, ended;
  u32 record_bytes, link;
  u64 units_per_sec;
  const char *fault;            /* why nothing more comes, or NULL */
  u64 fault_at;
} Reader;

INLINE u32 field(const Reader *r, size_t at) {
  u32 v = ld32(r->buffer + at);
  return r->swapped ? __builtin_bswap32(v) : v;
}

/* Moves what is left to the front and reads on. False at the end of the file. */
static int reader_more(Reader *r) {
  if (r->ended) return 0;
  memmove(r->buffer, r->buffer + r->pos, r->end - r->pos);
  r->base += r->pos;
  r->end -= r->pos;
  r->pos = 0;
  while (r->end < r->size) {
    ssize_t got = read(r->fd, r->buffer + r->end, r->size - r->end);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      r->fault = strerror(errno);
      r->fault_at = r->base + r->end;
    }
    if (got <= 0) {
      r->ended = 1;
      break;
    }
    r->end += (size_t)got;
    if (r->end - r->pos >= READ_BYTES / 2) break;
  }
  return r->end > 0;
}

static void reader_fault(Reader *r, const char *reason, size_t at) {
  if (r->fault) return;
  r->fault = reason;
  r->fault_at = r->base + at;
  r->ended = 1;
}

static u64 units_of(u32 magic) {
  return magic == 0xa1b23c4d ? NS_PER_SEC : magic == 0xa1b2c3d4 || magic == 0xa1b2cd34 ? 1000000 : 0;
}

/* False with `errno` if the file cannot be opened; what is wrong with its bytes becomes a fault. */
static int reader_open(Reader *r, const char *path) {
  memset(r, 0, sizeof *r);
  r->fd = strcmp(path, "-") == 0 ? 0 : open(path, O_RDONLY);
  if (r->fd < 0) return 0;
  struct stat st;
  if (fstat(r->fd, &st) == 0 && S_ISDIR(st.st_mode)) return errno = EISDIR, 0;
  r->size = MAX_PACKET_BYTES + 64 + READ_BYTES;
  r->buffer = malloc(r->size + BYTES_PAST_FRAME);
  if (!r->buffer) return 0;
  reader_more(r);
  if (r->fault) return 1;
  if (r->end == 0) return reader_fault(r, "empty file", 0), 1;
  u32 magic = r->end >= 4 ? ld32(r->buffer) : 0;
  r->swapped = !units_of(magic);
  if (r->swapped) magic = __builtin_bswap32(magic);
  r->units_per_sec = units_of(magic);
  if (!r->units_per_sec) return reader_fault(r, "not a classic pcap capture", 0), 1;
  if (r->end < 24) return reader_fault(r, "file header cut short", 0), 1;
  if ((r->swapped ? be16(r->buffer + 4) : ld16(r->buffer + 4)) != 2) {
    return reader_fault(r, "pcap version is not supported", 0), 1;
  }
  r->record_bytes = magic == 0xa1b2cd34 ? 24 : 16;
  r->link = field(r, 20) & 0xffff;
  r->pos = 24;
  return 1;
}

typedef struct {
  u8 *data;
  u32 cap, wire;
  u64 ns;
} Record;

/* The next record that is wholly in the buffer. */
INLINE int reader_take(Reader *r, Record *record) {
  size_t data = r->pos + r->record_bytes;
  if (r->fault || data > r->end) return 0;
  u32 cap = field(r, r->pos + 8), wire = field(r, r->pos + 12);
  if (cap > MAX_PACKET_BYTES) return reader_fault(r, "packet record longer than 262144 bytes", r->pos), 0;
  if (cap > r->end - data) return 0;
  if ((i32)wire < 0) wire = 0x7fffffff;
  else if (wire < cap) wire = cap;
  u32 fraction = field(r, r->pos + 4);
  record->data = r->buffer + data;
  record->cap = cap;
  record->wire = wire;
  record->ns = field(r, r->pos) * NS_PER_SEC + fraction * (NS_PER_SEC / r->units_per_sec);
  r->pos = data + cap;
  return 1;
}

/* Call when the reader has come to its end: were there bytes of half a record? */
static void reader_finish(Reader *r) {
  if (!r->fault && r->pos != r->end) reader_fault(r, "record cut short by the end of the file", r->pos);
  if (r->fd > 0) close(r->fd);
  free(r->buffer);
}

/* --------------------------------------------------------------------------------------------------------- writing -- */

#define WRITE_BYTES (1 << 20)

typedef struct {
  int fd, failed;
  u8 *buffer;
  size_t at;
  i32 interface;                /* -1: not described so far */
  const char *name;
} Writer;

static void writer_flush(Writer *w) {
  for (size_t from = 0; from < w->at && !w->failed;) {
    ssize_t wrote = write(w->fd, w->buffer + from, w->at - from);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) w->failed = errno;
    else from += (size_t)wrote;
  }
  w->at = 0;
}

INLINE void put32(Writer *w, u32 v) {
  st32(w->buffer + w->at, v);
  w->at += 4;
}

static int writer_open(Writer *w, const char *path, const char *name) {
  memset(w, 0, sizeof *w);
  w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  w->buffer = malloc(WRITE_BYTES + MAX_PACKET_BYTES + 4096);
  w->interface = -1;
  w->name = name;
  if (w->fd < 0 || !w->buffer) return 0;
  static const u32 section[] = { 0x0a0d0d0a, 44, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 4 | 7 << 16 };
  memcpy(w->buffer, section, sizeof section);
  memcpy(w->buffer + sizeof section, "pinhole", 8);
  w->at = sizeof section + 8;
  put32(w, 0);                                  /* end of options */
  put32(w, 44);
  return 1;
}

static void writer_interface(Writer *w) {
  u32 name = (u32)strlen(w->name), padded = (name + 3) & ~3u, bytes = 20 + 4 + padded + 8 + 4;
  put32(w, 1);
  put32(w, bytes);
  put32(w, LINK_ETHERNET);
  put32(w, MAX_PACKET_BYTES);
  put32(w, 2 | name << 16);                     /* if_name */
  memset(w->buffer + w->at, 0, padded);
  memcpy(w->buffer + w->at, w->name, name);
  w->at += padded;
  put32(w, 9 | 1 << 16);                        /* if_tsresol */
  put32(w, 9);
  put32(w, 0);
  put32(w, bytes);
  w->interface = 0;
}

INLINE void writer_put(Writer *w, const u8 *data, u32 cap, u32 wire, u64 ns) {
  if (unlikely(w->interface < 0)) writer_interface(w);
  u32 padded = (cap + 3) & ~3u, bytes = 32 + padded;
  u32 head[] = { 6, bytes, 0, (u32)(ns >> 32), (u32)ns, cap, wire };
  u8 *to = w->buffer + w->at;
  memcpy(to, head, sizeof head);
  st32(to + 28 + padded - 4, 0);
  memcpy(to + 28, data, cap);
  st32(to + 28 + padded, bytes);
  w->at += bytes;
  if (w->at > WRITE_BYTES) writer_flush(w);
}

/* 0, or the error of the disk. */
static int writer_close(Writer *w) {
  writer_flush(w);
  if (close(w->fd) < 0 && !w->failed) w->failed = errno;
  free(w->buffer);
  return w->failed;
}

#endif
