/*
 * natbase: the C program that Pinhole's packet path is measured against. README.md tells what it does and what it prints.
 */
#include <time.h>
#include "capture.h"
#include "engine.h"

static const char USAGE[] =
  "usage: natbase replay IN.pcap OUTSIDE.pcapng INSIDE.pcapng [OPTION]...\n"
  "       natbase replay IN.pcap --no-output [OPTION]...\n"
  "       natbase engine WARM.pcap STEADY.pcap [--repeat N] [--batch N] [OPTION]...\n"
  "       natbase newflow --count N [--batch N] [OPTION]...\n"
  "options: --pool A-B (203.0.113.1-203.0.113.4)  --inside PREFIX (repeatable, RFC 1918)  --flows N (262144)\n"
  "         --seed N (1)  --huge (ask for huge pages)\n";

static void usage(const char *what, const char *text) {
  fprintf(stderr, "natbase: %s%s%s\n%s", what, text ? ": " : "", text ? text : "", USAGE);
  exit(2);
}

static u64 clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (u64)t.tv_sec * NS_PER_SEC + (u64)t.tv_nsec;
}

/* ---------------------------------------------------------------------------------------------------- command line -- */

typedef struct {
  Options engine;
  const char *files[3];
  int file_count, no_output, pool_given, flows_given;
  u64 repeat, batch, count;
} Arguments;

static u64 number(const char *name, const char *text, u64 min, u64 max) {
  char *end;
  errno = 0;
  u64 v = text ? strtoull(text, &end, 10) : 0;
  if (!text || *text < '0' || *text > '9' || *end || errno || v < min || v > max) {
    char what[96];
    snprintf(what, sizeof what, "%s takes a whole number, %llu to %llu", name, (unsigned long long)min,
      (unsigned long long)max);
    usage(what, text);
  }
  return v;
}

/* Reads a dotted quad, host order, and moves on behind it. */
static int address(const char **text, u32 *out) {
  u32 v = 0;
  const char *at = *text;
  for (int part = 0; part < 4; part++) {
    if (part && *at++ != '.') return 0;
    u32 n = 0;
    const char *first = at;
    while (*at >= '0' && *at <= '9' && at - first < 3) n = n * 10 + (u32)(*at++ - '0');
    if (at == first || n > 255) return 0;
    v = v << 8 | n;
  }
  *text = at;
  *out = v;
  return 1;
}

static void read_pool(Options *o, const char *text) {
  const char *at = text;
  u32 last;
  if (!text || !address(&at, &o->pool_first)) usage("--pool takes A-B", text);
  last = o->pool_first;
  if (*at == '-' && (at++, !address(&at, &last))) usage("--pool takes A-B", text);
  if (*at || last < o->pool_first) usage("--pool takes A-B", text);
  if (last - o->pool_first >= POOL_MAX) usage("--pool takes at most 1024 addresses", text);
  o->pool_size = last - o->pool_first + 1;
}

static void read_prefix(Options *o, const char *text) {
  const char *at = text;
  u32 value;
  if (text && strchr(text, ':')) return;        /* IPv6 is not translated here */
  if (!text || !address(&at, &value)) usage("--inside takes a prefix", text);
  u64 bits = *at == '/' ? number("--inside PREFIX/BITS", at + 1, 0, 32) : 32;
  if (*at && *at != '/') usage("--inside takes a prefix", text);
  if (o->prefixes == PREFIX_MAX) usage("--inside: too many prefixes", NULL);
  u32 mask = bits ? ~0u << (32 - bits) : 0;
  o->prefix_mask[o->prefixes] = mask;
  o->prefix_value[o->prefixes++] = value & mask;
}

static void read_arguments(Arguments *a, int argc, char **argv) {
  memset(a, 0, sizeof *a);
  Options *o = &a->engine;
  o->flows = 262144;
  o->seed = 1;
  a->repeat = 1;
  a->batch = 256;
  int inside = 0;
  read_pool(o, "203.0.113.1-203.0.113.4");
  for (int i = 2; i < argc; i++) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (strncmp(name, "--", 2) != 0) {
      if (a->file_count == 3) usage("too many files", name);
      a->files[a->file_count++] = name;
      continue;
    }
    if (!strcmp(name, "--no-output")) { a->no_output = 1; continue; }
    if (!strcmp(name, "--huge")) { huge_pages = 1; continue; }
    if (!strcmp(name, "--pool")) read_pool(o, value), a->pool_given = 1;
    else if (!strcmp(name, "--inside")) read_prefix(o, value), inside = 1;
    else if (!strcmp(name, "--flows")) o->flows = (u32)number(name, value, 16, 1 << 24), a->flows_given = 1;
    else if (!strcmp(name, "--seed")) o->seed = (u32)number(name, value, 0, 999999999999999ull);
    else if (!strcmp(name, "--repeat")) a->repeat = number(name, value, 1, 1000000);
    else if (!strcmp(name, "--batch")) a->batch = number(name, value, 1, BATCH_MAX);
    else if (!strcmp(name, "--count")) a->count = number(name, value, 1, 1 << 24);
    else usage("unknown option", name);
    i++;
  }
  if (!inside) {
    read_prefix(o, "10.0.0.0/8");
    read_prefix(o, "172.16.0.0/12");
    read_prefix(o, "192.168.0.0/16");
  }
  if (!o->prefixes) {                           /* IPv6 prefixes only: no IPv4 address is inside */
    o->prefix_value[0] = 1;
    o->prefixes = 1;
  }
}

/* ---------------------------------------------------------------------------------------------------------- report -- */

#define U(x) ((unsigned long long)(x))

static void print_text(const char *text) {
  putchar('"');
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') putchar('\\');
    if ((u8)*text >= 32) putchar(*text);
  }
  putchar('"');
}

static void print_counters(const Engine *e) {
  u64 drops = 0;
  for (int i = 0; i < REASON_COUNT; i++) drops += e->drops[i];
  printf("\"packets\": %llu, \"bytes\": %llu,\n", U(e->in_packets), U(e->in_bytes));
  printf(" \"toOutside\": {\"packets\": %llu, \"bytes\": %llu}, \"toInside\": {\"packets\": %llu, \"bytes\": %llu},\n",
    U(e->sent[OUT]), U(e->sent_bytes[OUT]), U(e->sent[IN]), U(e->sent_bytes[IN]));
  printf(" \"dropPackets\": %llu, \"drops\": {", U(drops));
  const char *comma = "";
  for (int i = 0; i < REASON_COUNT; i++) {
    if (!e->drops[i]) continue;
    printf("%s\"%s\": %llu", comma, REASON_NAMES[i], U(e->drops[i]));
    comma = ", ";
  }
  printf("},\n \"flows\": {\"opened\": %llu, \"expired\": %llu, \"evicted\": %llu, \"current\": %llu, \"peak\": %llu, "
    "\"capacity\": %u},\n", U(e->opened), U(e->expired), U(e->evicted), U(e->current), U(e->peak), e->capacity);
  printf(" \"mappings\": {\"opened\": %llu, \"closed\": %llu}", U(e->mappings_opened), U(e->mappings_closed));
  printf(", \"bytesPerFlow\": %.1f", (double)e->table_bytes / e->capacity);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* Percentiles over batches, nearest rank; the mean over packets. */
static void print_samples(double *samples, size_t count, u64 ns, u64 packets) {
  qsort(samples, count, sizeof *samples, compare);
  double p50 = count ? samples[(count - 1) / 2] : 0, p99 = count ? samples[(size_t)((double)(count - 1) * 0.99)] : 0;
  printf("{\"p50\": %.2f, \"p99\": %.2f, \"max\": %.2f, \"mean\": %.2f}", p50, p99, count ? samples[count - 1] : 0,
    packets ? (double)ns / (double)packets : 0);
}

/* ---------------------------------------------------------------------------------------------------------- replay -- */

static int cannot(const char *what, const char *path) {
  fprintf(stderr, "natbase: cannot %s %s: %s\n", what, path, strerror(errno));
  return 1;
}

static int replay(Arguments *a) {
  if (a->file_count != (a->no_output ? 1 : 3)) usage("replay needs a capture and two files to write", NULL);
  u64 start = clock_ns();
  Engine *e = table_alloc(sizeof *e);
  Frame *b = table_alloc(BATCH_MAX * sizeof *b);
  engine_create(e, &a->engine);
  Reader r;
  Writer writers[2];
  if (!reader_open(&r, a->files[0])) return cannot("open", a->files[0]);
  if (!a->no_output) {
    if (!writer_open(writers + OUT, a->files[1], "outside")) return cannot("open", a->files[1]);
    if (!writer_open(writers + IN, a->files[2], "inside")) return cannot("open", a->files[2]);
  }
  u64 engine_ns = 0;
  do {
    for (;;) {
      u32 count = 0;
      Record record;
      while (count < a->batch && reader_take(&r, &record)) {
        b[count++] = (Frame){ .data = record.data, .ns = record.ns, .cap = record.cap, .wire = record.wire,
          .link = (u16)r.link };
      }
      if (!count) break;
      u64 before = clock_ns();
      engine_process(e, b, count);
      engine_ns += clock_ns() - before;
      if (a->no_output) continue;
      for (u32 i = 0; i < count; i++) {
        const Frame *f = b + i;
        if (f->verdict == DROP) continue;
        u32 cap = f->cap < f->net_end ? f->cap : f->net_end;
        writer_put(writers + (f->verdict == TO_OUTSIDE ? OUT : IN), f->data, cap, f->net_end, f->ns);
      }
    }
  } while (!r.fault && reader_more(&r));
  reader_finish(&r);
  for (int i = 0; i < 2 && !a->no_output; i++) {
    errno = writer_close(writers + i);
    if (errno) return cannot("write", a->files[1 + i]);
  }
  u64 wall = clock_ns() - start;
  printf("{\"mode\": \"replay\", ");
  print_counters(e);
  printf(",\n \"fault\": ");
  if (r.fault) {
    printf("{\"offset\": %llu, \"reason\": ", U(r.fault_at));
    print_text(r.fault);
    printf("}");
  } else printf("null");
  printf(",\n \"engineNs\": %llu, \"wallNs\": %llu}\n", U(engine_ns), U(wall));
  if (!r.fault) return 0;
  fprintf(stderr, "natbase: %s: %s at byte %llu\n", a->files[0], r.fault, U(r.fault_at));
  return 3;
}

/* ---------------------------------------------------------------------------------------------------------- engine -- */

typedef struct {
  u8 *bytes;
  u64 *at;
  u32 *cap, *wire;
  u64 *ns;
  size_t count;
  u32 link;
} Loaded;

static void *grown(void *p, size_t count, size_t item) {
  p = realloc(p, count * item);
  if (!p) {
    fprintf(stderr, "natbase: no memory for the capture\n");
    exit(1);
  }
  return p;
}

static int load(Loaded *c, const char *path) {
  memset(c, 0, sizeof *c);
  Reader r;
  if (!reader_open(&r, path)) return cannot("open", path);
  size_t room = 0, bytes = 0, bytes_room = 0;
  do {
    Record record;
    while (reader_take(&r, &record)) {
      if (c->count == room) {
        room = room ? room * 2 : 65536;
        c->at = grown(c->at, room, sizeof *c->at);
        c->cap = grown(c->cap, room, sizeof *c->cap);
        c->wire = grown(c->wire, room, sizeof *c->wire);
        c->ns = grown(c->ns, room, sizeof *c->ns);
      }
      if (bytes + record.cap > bytes_room) {
        bytes_room = (bytes + record.cap) * 2;
        c->bytes = grown(c->bytes, bytes_room, 1);
      }
      memcpy(c->bytes + bytes, record.data, record.cap);
      c->at[c->count] = bytes;
      c->cap[c->count] = record.cap;
      c->wire[c->count] = record.wire;
      c->ns[c->count++] = record.ns;
      bytes += record.cap;
    }
  } while (!r.fault && reader_more(&r));
  c->link = r.link;
  reader_finish(&r);
  if (!r.fault) return 0;
  fprintf(stderr, "natbase: %s: %s at byte %llu\n", path, r.fault, U(r.fault_at));
  return 3;
}

#define FRAME_ALIGN 64

/* Copies frames into the pool, one behind the other, each at the start of a cache line. */
static void fill(Frame *b, u8 *pool, const Loaded *c, size_t from, u32 count, u64 shift_ns) {
  for (size_t i = from; i < from + count; i++, b++) {
    memcpy(pool, c->bytes + c->at[i], c->cap[i]);
    *b = (Frame){ .data = pool, .ns = c->ns[i] + shift_ns, .cap = c->cap[i], .wire = c->wire[i], .link = (u16)c->link };
    pool += (c->cap[i] + FRAME_ALIGN - 1) & ~(FRAME_ALIGN - 1u);
  }
}

static u8 *pool_alloc(const Loaded *c, u64 batch) {
  u32 longest = 64;
  for (size_t i = 0; i < c->count; i++) if (c->cap[i] > longest) longest = c->cap[i];
  u8 *pool = table_alloc(((size_t)longest + FRAME_ALIGN) * batch + BYTES_PAST_FRAME);
  return pool;
}

/* Passes a capture once; returns the nanoseconds, and a sample for each batch if wanted. */
static u64 pass(Engine *e, Frame *b, u8 *pool, const Loaded *c, u64 batch, u64 shift_ns, double **samples) {
  u64 total = 0;
  for (size_t from = 0; from < c->count; from += batch) {
    u32 count = (u32)(c->count - from < batch ? c->count - from : batch);
    fill(b, pool, c, from, count, shift_ns);
    u64 before = clock_ns();
    engine_process(e, b, count);
    u64 took = clock_ns() - before;
    total += took;
    if (samples) *(*samples)++ = (double)took / count;
  }
  return total;
}

static u64 last_ns(const Loaded *c) {
  u64 last = 0;
  for (size_t i = 0; i < c->count; i++) if (c->ns[i] > last) last = c->ns[i];
  return last;
}

static int engine(Arguments *a) {
  if (a->file_count != 2) usage("engine needs two captures", NULL);
  Loaded warm, steady;
  int failed = load(&warm, a->files[0]);
  if (!failed) failed = load(&steady, a->files[1]);
  if (failed) return failed;
  Engine *e = table_alloc(sizeof *e);
  Frame *b = table_alloc(BATCH_MAX * sizeof *b);
  engine_create(e, &a->engine);
  u8 *pool = pool_alloc(&warm, a->batch);
  u64 warm_ns = pass(e, b, pool, &warm, a->batch, 0, NULL);
  u64 warm_opened = e->opened;
  pool = pool_alloc(&steady, a->batch);
  memset(e->drops, 0, sizeof e->drops);
  e->in_packets = e->in_bytes = e->sent[0] = e->sent[1] = e->sent_bytes[0] = e->sent_bytes[1] = 0;

  /* Time goes on: the first repeat keeps its own stamps unless they lie before the end of the warming. */
  u64 first = steady.count ? steady.ns[0] : 0, span = last_ns(&steady) - first + 1000000, shift = 0;
  u64 from = warm.count ? last_ns(&warm) + 1000000 : 0;
  if (first < from) shift = from - first;
  size_t batches = (steady.count + a->batch - 1) / a->batch * a->repeat;
  double *samples = grown(NULL, batches + 1, sizeof *samples), *at = samples;
  u64 ns = 0;
  for (u64 i = 0; i < a->repeat; i++) ns += pass(e, b, pool, &steady, a->batch, shift + i * span, &at);

  printf("{\"mode\": \"engine\", \"nsPerPacket\": ");
  print_samples(samples, batches, ns, e->in_packets);
  printf(", \"batch\": %llu, \"repeat\": %llu,\n \"warm\": {\"packets\": %llu, \"flowsOpened\": %llu, \"ns\": %llu},\n ",
    U(a->batch), U(a->repeat), U(warm.count), U(warm_opened), U(warm_ns));
  print_counters(e);
  printf(",\n \"engineNs\": %llu}\n", U(ns));
  return 0;
}

/* --------------------------------------------------------------------------------------------------------- newflow -- */

/* A UDP frame of 64 bytes from the n-th inside endpoint to a peer of its own. */
static void make_frame(u8 *f, u64 n, u64 hosts) {
  static const u8 head[] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 50, 0, 0, 0x40, 0, 64, 17, 0, 0 };
  memset(f, 0, 64);
  memcpy(f, head, sizeof head);
  u64 r = mix64(n * 0x9e3779b97f4a7c15ull + 1, 0xe7037ed1a0b428dbull);
  st32(f + 26, __builtin_bswap32(0x0a000000u + (u32)(n % hosts)));
  st32(f + 30, __builtin_bswap32(0x2d000000u + (u32)(r & 0xffffff)));
  st16(f + 34, __builtin_bswap16((u16)(1024 + (n / hosts * 7919 + n % hosts * 31) % 64512)));
  st16(f + 36, __builtin_bswap16(443));
  st16(f + 38, __builtin_bswap16(30));
  st16(f + 24, (u16)~fold(header_sum(f + 14)));
}

static int newflow(Arguments *a) {
  if (!a->count) usage("newflow needs --count", NULL);
  if (a->file_count) usage("newflow takes no files", a->files[0]);
  if (!a->flows_given) a->engine.flows = a->count < 16 ? 16 : (u32)a->count;
  if (!a->pool_given) {                         /* so that ports get scarce, but do not run out */
    a->engine.pool_size = (u32)(a->count / 32768 + 1);
    if (a->engine.pool_size < 4) a->engine.pool_size = 4;
  }
  Engine *e = table_alloc(sizeof *e);
  Frame *b = table_alloc(BATCH_MAX * sizeof *b);
  engine_create(e, &a->engine);
  u8 *pool = table_alloc(a->batch * 64 + BYTES_PAST_FRAME);
  size_t batches = (a->count + a->batch - 1) / a->batch;
  double *samples = grown(NULL, batches + 1, sizeof *samples);
  u64 ns = 0, hosts = a->count / 16 + 1, n = 0;
  for (size_t k = 0; k < batches; k++) {
    u32 count = (u32)(a->count - n < a->batch ? a->count - n : a->batch);
    for (u32 i = 0; i < count; i++, n++) {
      b[i] = (Frame){ .data = pool + i * 64, .ns = n * 1000, .cap = 64, .wire = 64, .link = LINK_ETHERNET };
      make_frame(b[i].data, n, hosts);
    }
    u64 before = clock_ns();
    engine_process(e, b, count);
    u64 took = clock_ns() - before;
    ns += took;
    samples[k] = (double)took / count;
  }
  printf("{\"mode\": \"newflow\", \"nsPerFlow\": ");
  print_samples(samples, batches, ns, a->count);
  printf(", \"poolAddresses\": %u,\n ", e->pool_size);
  print_counters(e);
  printf(",\n \"engineNs\": %llu}\n", U(ns));
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 2) usage("a command is needed", NULL);
  Arguments a;
  if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) return fputs(USAGE, stdout), 0;
  read_arguments(&a, argc, argv);
  if (!strcmp(argv[1], "replay")) return replay(&a);
  if (!strcmp(argv[1], "engine")) return engine(&a);
  if (!strcmp(argv[1], "newflow")) return newflow(&a);
  usage("unknown command", argv[1]);
}
