/*
 * trouble: two agents that no other agent should notice. One sends garbage, is closed by the box and comes again at once. The other
 * asks as fast as the box reads, reads nothing itself, and comes again when the box has cut it off. README.md tells more.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "simco.h"

#define PROGRAM "trouble"
#define USAGE "usage: trouble --port N [--agent N (0)] [--seconds N (3600)] [--host A.B.C.D (127.0.0.1)] [--from A.B.C.D (127.0.0.2)]\n"
#include "arguments.h"

static u32 port, first_agent, seconds = 3600;
static struct in_addr host, from;
static volatile int is_over;

static void read_arguments(int argc, char **argv) {
  host.s_addr = htonl(INADDR_LOOPBACK);
  from.s_addr = htonl(INADDR_LOOPBACK + 1);
  for (int i = 1; i < argc; i += 2) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (!strcmp(name, "--port")) port = (u32)number(name, value, 1, 65535);
    else if (!strcmp(name, "--agent")) first_agent = (u32)number(name, value, 0, 65535);
    else if (!strcmp(name, "--seconds")) seconds = (u32)number(name, value, 1, 86400);
    else if (!strcmp(name, "--host")) { if (!value || !inet_aton(value, &host)) usage(name, value); }
    else if (!strcmp(name, "--from")) { if (!value || !inet_aton(value, &from)) usage(name, value); }
    else usage("unknown option", name);
  }
  if (!port) usage("--port is missing", NULL);
}

/* ------------------------------------------------------------------------------------------------------ connections -- */

typedef struct {
  /* Connections that came about, sessions opened on them, and connections that the box ended. */
  u64 connections, opened, closed;
  u64 octets_sent, octets_received;
  /* What the box told at the end: bad message, and that the session is over. */
  u64 bfm, ast;
} Report;

static Report garbage_report, deaf_report;

#define WAIT_MS 100
/* Nothing goes and nothing comes for so long: a box that does not end a connection that it should. */
#define SILENCE_WAITS 100

/* A connection, or -1 as the time is over. Everything that blocks looks up every WAIT_MS. */
static int dial(Report *r, int receive_bytes) {
  struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr = from };
  struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = host };
  struct timeval wait = { .tv_usec = WAIT_MS * 1000 };
  int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) die("socket");
  if (receive_bytes && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes)) die("SO_RCVBUF");
  /* The port is chosen when we connect, so that it need only be free towards the box. */
  if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one)) die("IP_BIND_ADDRESS_NO_PORT");
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one)) die("TCP_NODELAY");
  if (bind(fd, (struct sockaddr *)&own, sizeof own)) die("bind");
  if (connect(fd, (struct sockaddr *)&to, sizeof to)) die("connect");
  if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait)) die("SO_SNDTIMEO");
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait)) die("SO_RCVTIMEO");
  r->connections++;
  return fd;
}

/* 1: all was sent; 0: the box has ended the connection, or the time is over. */
static int send_all(Report *r, int fd, const u8 *p, size_t bytes) {
  while (bytes > 0 && !is_over) {
    ssize_t n = send(fd, p, bytes, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) return 0;
    if (n < 0) die("send");
    r->octets_sent += (u64)n;
    p += n;
    bytes -= (size_t)n;
  }
  return bytes == 0;
}

/* Reads one message into `p`. Returns its octets; 0: the box has ended the connection, or the time is over. */
static u32 read_message(Report *r, int fd, u8 *p, u32 room) {
  u32 got = 0, wanted = HEADER_BYTES;
  while (got < wanted && !is_over) {
    ssize_t n = recv(fd, p + got, wanted - got, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0 && errno != ECONNRESET) die("recv");
    if (n <= 0) return 0;
    r->octets_received += (u64)n;
    got += (u32)n;
    if (got >= HEADER_BYTES) wanted = HEADER_BYTES + get16(p + 2);
    if (wanted > room) { errno = 0; die("a message that is too long"); }
  }
  return got == wanted ? got : 0;
}

/* 1: the session of that agent is open. */
static int open_session(Report *r, int fd, u32 agent) {
  u8 in[HEADER_BYTES + 8192], out[512];
  if (!send_all(r, fd, out, (size_t)(simco_hello(out, 1) - out))) return 0;
  if (!read_message(r, fd, in, sizeof in)) return 0;
  if (in[0] == 2 && in[1] == SA) {
    u32 bytes = get16(in + HEADER_BYTES + 2);
    if (get16(in + HEADER_BYTES) != 0x0002 || bytes > CHALLENGE_MAX) { errno = 0; die("SA without a challenge"); }
    if (!send_all(r, fd, out, (size_t)(simco_proof(out, 2, agent, in + HEADER_BYTES + 4, bytes) - out))) return 0;
    if (!read_message(r, fd, in, sizeof in)) return 0;
  }
  if (in[0] != 2 || in[1] != SE) {
    fprintf(stderr, "trouble: SE is answered with 0x%02x%02x\n", in[0], in[1]);
    exit(1);
  }
  r->opened++;
  return 1;
}

/* ---------------------------------------------------------------------------------------------------------- garbage -- */

/* xorshift64: the same garbage each time. */
static u64 state = 88172645463325252ull;
static u64 next_random(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static void put_random(u8 *p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 8) { u64 v = next_random(); memcpy(p + i, &v, 8); }
}

#define EARLY_BYTES 8192
#define OPEN_BYTES 65536

/* Messages of any type, short, with any octets in them, and one that is longer than a message can be. */
static size_t put_messages(u8 *p) {
  put_random(p, OPEN_BYTES);
  size_t at = 0;
  while (at < OPEN_BYTES - 64) {
    u32 payload = (u32)(next_random() & 31);
    put16(p + at + 2, payload);
    /* ST would be an orderly end. */
    if (p[at] == 1 && p[at + 1] == 3) p[at] = 0;
    at += HEADER_BYTES + payload;
  }
  put16(p + at + 2, 0xffff);
  return at + HEADER_BYTES;
}

/* Counts what the box says last, until it ends the connection. */
static int read_to_end(Report *r, int fd) {
  u8 in[65536];
  size_t have = 0;
  for (int waits = 0; !is_over;) {
    ssize_t n = recv(fd, in + have, sizeof in - have, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (++waits == SILENCE_WAITS) { errno = 0; die("garbage, and the box does not end the connection"); }
      continue;
    }
    if (n < 0 && errno != ECONNRESET) die("recv");
    if (n <= 0) return 1;
    waits = 0;
    r->octets_received += (u64)n;
    have += (size_t)n;
    size_t at = 0;
    while (have - at >= HEADER_BYTES && have - at >= HEADER_BYTES + get16(in + at + 2)) {
      if (in[at] == 4 && in[at + 1] == 1) r->bfm++;
      if (in[at] == 4 && in[at + 1] == 2) r->ast++;
      at += HEADER_BYTES + get16(in + at + 2);
    }
    have -= at;
    memmove(in, in + at, have);
  }
  return 0;
}

/* By turns before there is a session, and in one. */
static void *send_garbage(void *unused) {
  static u8 out[OPEN_BYTES + 64];
  Report *r = &garbage_report;
  for (u32 i = 0; !is_over; i++) {
    int fd = dial(r, 0);
    size_t bytes = EARLY_BYTES;
    if (i & 1) {
      if (!open_session(r, fd, first_agent)) { close(fd); continue; }
      bytes = put_messages(out);
    } else put_random(out, bytes);
    send_all(r, fd, out, bytes);
    if (read_to_end(r, fd)) r->closed++;
    close(fd);
  }
  return unused;
}

/* ------------------------------------------------------------------------------------------------------------- deaf -- */

#define OWN_RULES 64
#define BATCH 2048
/* Away from those of load.c. */
#define INSIDE 0x0af00000
#define RULE_SEC 600

static u64 requests_sent;

/* Rules to ask about, made while it still reads. 0: the box has ended the connection, or the time is over. */
static int make_rules(Report *r, int fd, u32 *rules, u32 *tid) {
  u8 out[128], in[HEADER_BYTES + 1024];
  for (u32 n = 0; n < OWN_RULES; n++) {
    u8 *end = simco_enable(out, (*tid)++, INSIDE, n, RULE_SEC);
    if (!send_all(r, fd, out, (size_t)(end - out))) return 0;
    u32 got = read_message(r, fd, in, sizeof in);
    if (!got) return 0;
    if (in[0] != 2) { errno = 0; fprintf(stderr, "trouble: PER is answered with 0x%02x%02x\n", in[0], in[1]); exit(1); }
    rules[n] = rule_of(in + HEADER_BYTES, in + got);
  }
  return 1;
}

/* PRS, PLC and PRL of its rules, and PERs of rules that end after a second, by turns. */
static u8 *put_request(u8 *p, u32 tid, u32 rule) {
  switch (tid & 3) {
    case 0: return simco_lifetime(p, tid, rule, RULE_SEC);
    case 1: return put32(put16(put16(simco_header(p, PRS, 8, tid), 0x0005), 4), rule);
    case 2: return simco_header(p, PRL, 0, tid);
    default: return simco_enable(p, tid, INSIDE, OWN_RULES + (tid >> 2) % (1 << 20), 1);
  }
}

static void *never_read(void *unused) {
  static u8 out[BATCH * 64];
  Report *r = &deaf_report;
  u32 rules[OWN_RULES], made = 0;
  while (!is_over) {
    u32 tid = 3;
    /* The least window that there is: what it does not take waits in the box. */
    int fd = dial(r, 1);
    if (!open_session(r, fd, first_agent + 1) || (!made && !make_rules(r, fd, rules, &tid))) { close(fd); continue; }
    made = 1;
    do {
      u8 *p = out;
      for (u32 i = 0; i < BATCH; i++, tid++) p = put_request(p, tid, rules[tid % OWN_RULES]);
      requests_sent += BATCH;
      if (!send_all(r, fd, out, (size_t)(p - out))) break;
    } while (!is_over);
    if (!is_over) r->closed++;
    close(fd);
  }
  return unused;
}

/* ---------------------------------------------------------------------------------------------------------- report -- */

static void print_report(const char *name, const Report *r) {
  printf("\"%s\": {\"connections\": %llu, \"opened\": %llu, \"closed\": %llu, \"octetsSent\": %llu, \"octetsReceived\": %llu, "
    "\"bfm\": %llu, \"ast\": %llu", name, (unsigned long long)r->connections, (unsigned long long)r->opened,
    (unsigned long long)r->closed, (unsigned long long)r->octets_sent, (unsigned long long)r->octets_received,
    (unsigned long long)r->bfm, (unsigned long long)r->ast);
}

int main(int argc, char **argv) {
  read_arguments(argc, argv);
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  if (pthread_sigmask(SIG_BLOCK, &ends, NULL)) die("signals");
  /* What it takes of the processors is to come from nobody: it is the box that should keep its agents from harm. */
  if (sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){ .sched_priority = 0 })) die("SCHED_IDLE");
  pthread_t threads[2];
  if (pthread_create(threads, NULL, send_garbage, NULL) || pthread_create(threads + 1, NULL, never_read, NULL)) die("threads");
  struct timespec time = { .tv_sec = seconds };
  sigtimedwait(&ends, NULL, &time);
  is_over = 1;
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  putchar('{');
  print_report("garbage", &garbage_report);
  printf("},\n ");
  print_report("deaf", &deaf_report);
  printf(", \"requests\": %llu}}\n", (unsigned long long)requests_sent);
  return 0;
}
