/*
 * load: one thread that asks a server over the loopback as fast as it answers, or at a given rate, in RESP (redis) or in
 * SIMCO (RFC 4540), by the same code but for the bytes. README.md tells what it does and what it prints.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "histogram.h"
#include "simco.h"

#define PROGRAM "load"
#define USAGE \
  "usage: load redis|simco --port N [OPTION]...\n" \
  "options: --connections N (50)  --pipeline N (1)  --seconds N (3)  --warm-seconds N (1)\n" \
  "         --live N (20000)  --turnover  --rate N (0: as fast as it goes)  --lifetime N (600)  --host A.B.C.D (127.0.0.1)\n"
#include "arguments.h"

#define NS_PER_SEC 1000000000ull

static u64 clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (u64)t.tv_sec * NS_PER_SEC + (u64)t.tv_nsec;
}

/* ---------------------------------------------------------------------------------------------------------- options -- */

static int simco, turnover;
static u32 connections = 50, pipeline = 1, live = 20000, lifetime = 600, port;
static double seconds = 3, warm_seconds = 1, rate;
static struct in_addr host;

#define CONNECTIONS_MAX 1000
#define PIPELINE_MAX 256

static void read_arguments(int argc, char **argv) {
  if (argc < 2) usage("what protocol?", NULL);
  if (!strcmp(argv[1], "simco")) simco = 1;
  else if (strcmp(argv[1], "redis")) usage("unknown protocol", argv[1]);
  host.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 2; i < argc; i++) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (!strcmp(name, "--turnover")) { turnover = 1; continue; }
    if (!strcmp(name, "--port")) port = (u32)number(name, value, 1, 65535);
    else if (!strcmp(name, "--connections")) connections = (u32)number(name, value, 1, CONNECTIONS_MAX);
    else if (!strcmp(name, "--pipeline")) pipeline = (u32)number(name, value, 1, PIPELINE_MAX);
    else if (!strcmp(name, "--seconds")) seconds = number(name, value, 0.01, 3600);
    else if (!strcmp(name, "--warm-seconds")) warm_seconds = number(name, value, 0, 3600);
    else if (!strcmp(name, "--live")) live = (u32)number(name, value, 1, 4e6);
    else if (!strcmp(name, "--rate")) rate = number(name, value, 0, 1e7);
    else if (!strcmp(name, "--lifetime")) lifetime = (u32)number(name, value, 1, 4e9);
    else if (!strcmp(name, "--host")) { if (!value || !inet_aton(value, &host)) usage(name, value); }
    else usage("unknown option", name);
    i++;
  }
  if (!port) usage("--port is missing", NULL);
  if (rate > 0 && !turnover) usage("--rate is for --turnover", NULL);
}

/* ------------------------------------------------------------------------------------------------------ connections -- */

/* What an agent makes (SET, PER) and removes again (DEL, PLC with lifetime 0). */
enum { MAKE, REMOVE, HELLO };
#define RESULTS 2

/* Something made: its number, from which the key or the tuples follow, and the rule identifier in the reply. */
typedef struct { u32 number, rule; } Thing;

#define MESSAGE_MAX 128
#define IN_BYTES 65536

typedef struct {
  int fd, kind, idle;
  /* Requests of the batch under way, and how many of them were answered. */
  u32 sent, answered;
  u32 tid;
  u64 start_ns;
  size_t in_bytes;
  /* Ring of what lives, oldest first; the requests under way follow (MAKE) or are the first ones (REMOVE). */
  Thing *things;
  u32 first, count, capacity;
  /* The next number, of those that belong to this connection. */
  u32 next;
  u8 in[IN_BYTES];
} Connection;

static Connection *all;
static u8 out[PIPELINE_MAX * MESSAGE_MAX];

/* Of what was made and of what was removed. */
static Histogram latency[RESULTS];
static u64 answers[RESULTS], spent_ns[RESULTS], errors[256], notifications, late, all_answers;
static int measuring;

static Thing *thing(Connection *c, u32 i) {
  u32 at = c->first + i;
  return c->things + (at < c->capacity ? at : at - c->capacity);
}

static void send_all(Connection *c, const u8 *p, size_t bytes) {
  while (bytes > 0) {
    ssize_t n = send(c->fd, p, bytes, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) die("the server does not read: the requests of a batch fill its socket");
    if (n < 0) die("send");
    p += n;
    bytes -= (size_t)n;
  }
}

/* ------------------------------------------------------------------------------------------------------------- RESP -- */

#define KEY "key:%012u"
#define KEY_BYTES 16

static u8 *resp_request(u8 *p, int kind, u32 n) {
  char text[MESSAGE_MAX];
  int bytes = kind == MAKE ? sprintf(text, "*3\r\n$3\r\nSET\r\n$%d\r\n" KEY "\r\n$3\r\nxxx\r\n", KEY_BYTES, n)
    : sprintf(text, "*2\r\n$3\r\nDEL\r\n$%d\r\n" KEY "\r\n", KEY_BYTES, n);
  memcpy(p, text, (size_t)bytes);
  return p + bytes;
}

/* ------------------------------------------------------------------------------------------------------------ SIMCO -- */

/* Rules are of inside hosts in 10.128.0.0/9. */
#define INSIDE 0x0a800000

static u8 *simco_request(u8 *p, int kind, const Thing *t, u32 tid) {
  if (kind == HELLO) return simco_hello(p, tid);
  if (kind == REMOVE) return simco_lifetime(p, tid, t->rule, 0);
  return simco_enable(p, tid, INSIDE, t->number, lifetime);
}

static void prove(Connection *c, const u8 *challenge, u32 bytes) {
  if (bytes > CHALLENGE_MAX) { errno = 0; die("a challenge of more than 4096 octets"); }
  send_all(c, out, (size_t)(simco_proof(out, c->tid + 1, (u32)(c - all), challenge, bytes) - out));
}

/* --------------------------------------------------------------------------------------------------------- requests -- */

/* Sends a batch of requests in one write, as redis-benchmark does: the next one when all of it is answered. */
static void ask(Connection *c, int kind, u32 count, u64 start_ns) {
  u8 *p = out;
  c->kind = kind;
  c->sent = count;
  c->answered = 0;
  c->idle = 0;
  c->start_ns = start_ns;
  for (u32 i = 0; i < count; i++) {
    Thing *t = kind == HELLO ? NULL : thing(c, kind == MAKE ? c->count + i : i);
    if (kind == MAKE) {
      t->number = c->next;
      t->rule = 0;
      c->next += connections;
      if (c->next >= c->capacity * connections) c->next %= connections;
    }
    p = simco ? simco_request(p, kind, t, c->tid + i) : resp_request(p, kind, t->number);
  }
  send_all(c, out, (size_t)(p - out));
}

static void answered(Connection *c, u64 now_ns, int code, u32 rule) {
  if (c->answered == c->sent) { errno = 0; die("a reply that nobody asked for"); }
  if (c->kind != HELLO) {
    all_answers++;
    if (code) errors[code & 255]++;
    /* What was refused stays in its place with rule 0; removing it is refused too, and counted. */
    if (c->kind == MAKE) thing(c, c->count + c->answered)->rule = rule;
    if (measuring) {
      answers[c->kind]++;
      histogram_add(latency + c->kind, now_ns - c->start_ns);
    }
  } else if (code) {
    fprintf(stderr, "load: SE is answered with 0x03%02x\n", code);
    exit(1);
  }
  c->answered++;
  c->tid++;
  if (c->answered < c->sent) return;
  if (c->kind == MAKE) c->count += c->sent;
  if (c->kind == REMOVE) {
    c->count -= c->sent;
    c->first = (c->first + c->sent) % c->capacity;
  }
  c->idle = 1;
}

/* Returns the bytes that made whole replies. */
static size_t read_resp(Connection *c, u64 now_ns) {
  u8 *at = c->in, *end = c->in + c->in_bytes, *line;
  while ((line = memchr(at, '\n', (size_t)(end - at)))) {
    answered(c, now_ns, *at == '-', 0);
    at = line + 1;
  }
  return (size_t)(at - c->in);
}

static size_t read_simco(Connection *c, u64 now_ns) {
  u8 *at = c->in, *end = c->in + c->in_bytes;
  while (end - at >= HEADER_BYTES) {
    u8 *next = at + HEADER_BYTES + get16(at + 2);
    if (next > end) break;
    if (at[0] == 4) {
      if (at[1] != 3) { errno = 0; die("the server ended the session"); }
      notifications++;
    } else {
      if (get32(at + 4) != c->tid) { errno = 0; die("a reply out of order"); }
      if (at[0] == 2 && at[1] == SA) {
        /* SE is answered with a challenge: the session is open when our proof is answered with SE. */
        if (next - at < HEADER_BYTES + 4 || get16(at + HEADER_BYTES) != 0x0002) { errno = 0; die("SA without a challenge"); }
        prove(c, at + HEADER_BYTES + 4, get16(at + HEADER_BYTES + 2));
        c->tid++;
        at = next;
        continue;
      }
      answered(c, now_ns, at[0] == 3 ? at[1] : 0, rule_of(at + HEADER_BYTES, next));
    }
    at = next;
  }
  return (size_t)(at - c->in);
}

static void receive(Connection *c) {
  u64 now_ns = clock_ns();
  ssize_t n = recv(c->fd, c->in + c->in_bytes, IN_BYTES - c->in_bytes, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) die("recv");
  if (n == 0) { errno = 0; die("the server closed a connection"); }
  c->in_bytes += (size_t)n;
  size_t used = simco ? read_simco(c, now_ns) : read_resp(c, now_ns);
  c->in_bytes -= used;
  memmove(c->in, c->in + used, c->in_bytes);
}

/* ------------------------------------------------------------------------------------------------------------- runs -- */

static int poll_fd, timer_fd;

static void connect_all(void) {
  for (u32 i = 0; i < connections; i++) {
    Connection *c = all + i;
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = host };
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to)) die("connect");
    if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one)) die("TCP_NODELAY");
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK)) die("fcntl");
    struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
    c->capacity = live + 2 * pipeline;
    c->things = calloc(c->capacity, sizeof *c->things);
    if (!c->things) die("memory");
    c->next = i;
    c->tid = 1;
    c->idle = 1;
  }
}

#define SILENCE_MS 10000
#define EVENTS 256

/* Time in which there was nothing to do but to look. */
static u64 idle_ns;

/*
 * Sleeps only if there are hours to wait for, or nobody else could work meanwhile. Else it looks again and again: redis-benchmark hardly sleeps, as it has more to do for a
 * request than redis; who sleeps has to be woken, which the server pays for, and waits until it is awake, which counts as the server's.
 */
static int wait_for_events(struct epoll_event *events) {
  int sleeps = rate > 0 || sysconf(_SC_NPROCESSORS_ONLN) < 2, n = epoll_wait(poll_fd, events, EVENTS, sleeps ? SILENCE_MS : 0);
  if (n == 0 && !sleeps) {
    u64 start = clock_ns(), now = start;
    while (n == 0 && now - start < SILENCE_MS * 1000000ull) {
      n = epoll_wait(poll_fd, events, EVENTS, 0);
      now = clock_ns();
    }
    if (measuring) idle_ns += now - start;
  }
  if (n < 0 && errno != EINTR) die("epoll_wait");
  if (n == 0) { errno = 0; die("the server has been silent for ten seconds"); }
  return n < 0 ? 0 : n;
}

static void wait_on(Connection *c, u32 events) {
  struct epoll_event event = { .events = events, .data.u32 = (u32)(c - all) };
  if (epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event)) die("epoll_ctl");
}

/*
 * A share of work that all connections take from, batch by batch, until it is used up and answered. As redis-benchmark does it, the
 * next batch of a connection is no part of reading the last one's answers: it is sent when its socket is found writable, which is the
 * generator's next look at its sockets, and its latency counts from there. So a server is asked by either in the same rhythm.
 */
static void run_phase(int kind, u64 quota) {
  u64 start = clock_ns();
  u32 busy = connections;
  for (u32 i = 0; i < connections; i++) wait_on(all + i, EPOLLOUT);
  struct epoll_event events[EVENTS];
  while (busy > 0) {
    int n = wait_for_events(events);
    for (int e = 0; e < n; e++) {
      if (events[e].data.u32 >= connections) continue;
      Connection *c = all + events[e].data.u32;
      if (!c->idle) {
        receive(c);
        if (c->idle) wait_on(c, EPOLLOUT);
        continue;
      }
      if (!(events[e].events & EPOLLOUT)) { receive(c); continue; }
      u64 most = kind == REMOVE ? c->count : quota;
      u32 count = (u32)(most < pipeline ? most : pipeline);
      if (!count) busy--;
      else {
        if (kind != REMOVE) quota -= count;
        ask(c, kind, count, clock_ns());
      }
      wait_on(c, EPOLLIN);
    }
  }
  if (measuring && kind != HELLO) spent_ns[kind] += clock_ns() - start;
}

/* Fills up to `live`, empties, and so on. */
static void fill_and_empty(double for_seconds) {
  u64 end = clock_ns() + (u64)(for_seconds * 1e9);
  while (clock_ns() < end) {
    run_phase(MAKE, live);
    run_phase(REMOVE, 0);
  }
}

/* What the next batch of a connection is while `live` stay alive: the oldest go, as many new ones come. */
static int next_kind(const Connection *c) { return c->kind == MAKE && c->count >= pipeline ? REMOVE : MAKE; }

static void arm(u64 at_ns) {
  struct itimerspec when = { .it_value = { .tv_sec = (time_t)(at_ns / NS_PER_SEC), .tv_nsec = (long)(at_ns % NS_PER_SEC) } };
  if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL)) die("timerfd_settime");
}

/*
 * Makes and removes by turns with `live` things alive. With a rate, batch i has its hour, and its latency counts from
 * then even if it had to wait for an idle connection: a server that stops for a while pays for all that came meanwhile.
 */
static void turn_over(double for_seconds) {
  u64 start = clock_ns(), end = start + (u64)(for_seconds * 1e9);
  double gap_ns = rate > 0 ? 1e9 * pipeline / rate : 0;
  u64 batch = 0, now = start;
  u32 turn = 0, busy = 0;
  struct epoll_event events[EVENTS];
  for (;;) {
    while (now < end && busy < connections) {
      u64 due = start + (u64)((double)batch * gap_ns);
      if (gap_ns > 0 && due > now) { arm(due); break; }
      while (!all[turn].idle) turn = turn + 1 < connections ? turn + 1 : 0;
      Connection *c = all + turn;
      turn = turn + 1 < connections ? turn + 1 : 0;
      if (measuring && gap_ns > 0 && (double)(now - due) > gap_ns + 1e6) late++;
      ask(c, next_kind(c), pipeline, gap_ns > 0 ? due : now);
      busy++;
      batch++;
      if (gap_ns == 0) now = clock_ns();
    }
    if (busy == 0 && now >= end) break;
    int n = wait_for_events(events);
    for (int e = 0; e < n; e++) {
      if (events[e].data.u32 >= connections) {
        u64 ticks;
        if (read(timer_fd, &ticks, sizeof ticks) < 0 && errno != EAGAIN) die("timerfd");
        continue;
      }
      Connection *c = all + events[e].data.u32;
      int was_idle = c->idle;
      receive(c);
      if (c->idle && !was_idle) busy--;
    }
    now = clock_ns();
  }
  if (measuring) spent_ns[MAKE] = spent_ns[REMOVE] += now - start;
}

/* ---------------------------------------------------------------------------------------------------------- report -- */

static void print_kind(const char *name, int kind) {
  const Histogram *h = latency + kind;
  double us = 1e-3, span = (double)spent_ns[kind] * 1e-9;
  printf("\"%s\": {\"count\": %llu, \"perSecond\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, "
    "\"max\": %.1f},\n ", name, (unsigned long long)answers[kind], span > 0 ? (double)answers[kind] / span : 0,
    (double)histogram_percentile(h, 0.5) * us, (double)histogram_percentile(h, 0.9) * us,
    (double)histogram_percentile(h, 0.99) * us, (double)histogram_percentile(h, 0.999) * us, (double)h->max * us);
}

static double cpu_seconds(void) {
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

static void print_report(double wall, double cpu) {
  u64 both = answers[MAKE] + answers[REMOVE];
  double span = (double)(turnover ? spent_ns[MAKE] : spent_ns[MAKE] + spent_ns[REMOVE]) * 1e-9;
  printf("{\"protocol\": \"%s\", \"work\": \"%s\", \"connections\": %u, \"pipeline\": %u, \"live\": %u, \"rate\": %.0f,\n ",
    simco ? "simco" : "redis", turnover ? "turnover" : "fill and empty", connections, pipeline, live, rate);
  print_kind("made", MAKE);
  print_kind("removed", REMOVE);
  printf("\"transactions\": %llu, \"transactionsPerSecond\": %.1f, \"seconds\": %.3f, \"busy\": %.3f,\n ",
    (unsigned long long)both, span > 0 ? (double)both / span : 0, wall, wall > 0 ? cpu / wall : 0);
  printf("\"allTransactions\": %llu, \"notifications\": %llu, \"late\": %llu, \"errors\": {",
    (unsigned long long)all_answers, (unsigned long long)notifications, (unsigned long long)late);
  const char *comma = "";
  for (u32 code = 0; code < 256; code++) {
    if (!errors[code]) continue;
    if (simco) printf("%s\"0x03%02X\": %llu", comma, code, (unsigned long long)errors[code]);
    else printf("%s\"ERR\": %llu", comma, (unsigned long long)errors[code]);
    comma = ", ";
  }
  printf("}}\n");
}

int main(int argc, char **argv) {
  read_arguments(argc, argv);
  /* Pages of rings and buffers are touched as they are used. */
  all = calloc(connections, sizeof *all);
  if (!all) die("memory");
  poll_fd = epoll_create1(0);
  timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct epoll_event event = { .events = EPOLLIN, .data.u32 = connections };
  if (poll_fd < 0 || timer_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &event)) die("epoll");
  connect_all();
  if (simco) {
    u32 wanted = pipeline;
    pipeline = 1;
    run_phase(HELLO, connections);
    pipeline = wanted;
  }
  if (turnover) run_phase(MAKE, live);
  if (warm_seconds > 0) { if (turnover) turn_over(warm_seconds); else fill_and_empty(warm_seconds); }
  measuring = 1;
  u64 start = clock_ns();
  double cpu = cpu_seconds();
  if (turnover) turn_over(seconds); else fill_and_empty(seconds);
  double wall = (double)(clock_ns() - start) * 1e-9;
  cpu = cpu_seconds() - cpu - (double)idle_ns * 1e-9;
  measuring = 0;
  run_phase(REMOVE, 0);
  print_report(wall, cpu);
  return 0;
}
