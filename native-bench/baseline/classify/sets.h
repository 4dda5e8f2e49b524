// Rule sets and headers as ClassBench writes them, and how the programs of this folder measure and print. Input comes from
// files that the benchmark has written: a line that cannot be read ends the program.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

struct Rule {
  uint32_t src, dst;
  uint8_t srcBits, dstBits, protocol, protocolMask;
  uint16_t srcLow, srcHigh, dstLow, dstHigh;
};

struct Header {
  uint32_t src, dst;
  uint16_t srcPort, dstPort;
  uint8_t protocol;
};

static const int BATCH = 256;

[[noreturn]] static inline void fail(const char *what, const char *of) {
  fprintf(stderr, "%s: %s\n", of, what);
  exit(1);
}

static inline uint32_t maskOf(int bits) { return bits == 0 ? 0 : ~0u << (32 - bits); }

template <typename Each> static void eachLine(const char *path, Each each) {
  FILE *file = fopen(path, "r");
  if (file == nullptr) fail(strerror(errno), path);
  char line[512];
  while (fgets(line, sizeof line, file) != nullptr) if (line[strspn(line, " \t\r\n")] != 0) each(line);
  fclose(file);
}

static std::vector<Rule> readRules(const char *path) {
  std::vector<Rule> rules;
  eachLine(path, [&](const char *line) {
    unsigned s[5], d[5], sl, sh, dl, dh, protocol, mask;
    int got = sscanf(line, "@%u.%u.%u.%u/%u %u.%u.%u.%u/%u %u : %u %u : %u %x/%x", s, s + 1, s + 2, s + 3, s + 4, d, d + 1, d + 2,
      d + 3, d + 4, &sl, &sh, &dl, &dh, &protocol, &mask);
    if (got != 16) fail(line, path);
    Rule r{};
    r.srcBits = s[4];
    r.dstBits = d[4];
    r.src = (s[0] << 24 | s[1] << 16 | s[2] << 8 | s[3]) & maskOf(r.srcBits);
    r.dst = (d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3]) & maskOf(r.dstBits);
    r.srcLow = sl; r.srcHigh = sh; r.dstLow = dl; r.dstHigh = dh;
    r.protocol = protocol & mask;
    r.protocolMask = mask;
    rules.push_back(r);
  });
  return rules;
}

static std::vector<Header> readHeaders(const char *path) {
  std::vector<Header> headers;
  eachLine(path, [&](const char *line) {
    unsigned src, dst, srcPort, dstPort, protocol;
    if (sscanf(line, "%u %u %u %u %u", &src, &dst, &srcPort, &dstPort, &protocol) != 5) fail(line, path);
    headers.push_back({src, dst, (uint16_t)srcPort, (uint16_t)dstPort, (uint8_t)protocol});
  });
  return headers;
}

// Processor time of this thread: others on the machine do not count.
static inline double nowMs() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

struct Arguments { const char *rules, *headers, *answers; int rounds; };

// PROGRAM RULES HEADERS ANSWERS ROUNDS
static inline Arguments arguments(int argc, char **argv) {
  if (argc != 5 || atoi(argv[4]) < 1) {
    fprintf(stderr, "usage: %s RULES HEADERS ANSWERS ROUNDS\n", argv[0]);
    exit(2);
  }
  return {argv[1], argv[2], argv[3], atoi(argv[4])};
}

// As `pinhole classify` measures: a pass for the answers, some to warm up, then rounds of a tenth of a second. `pass` looks up all
// headers and puts one more than the place of the first rule, or 0, into its argument.
template <typename Pass>
static void measureAndPrint(const char *program, const Arguments &args, size_t rules, size_t headers, double buildMs, size_t bytes,
  Pass pass) {
  const double ROUND_MS = 100, WARM_MS = 250;
  std::vector<uint32_t> found(headers);
  double begin = nowMs(), passMs = 0;
  pass(found.data());
  passMs = nowMs() - begin;
  FILE *file = fopen(args.answers, "w");
  if (file == nullptr) fail(strerror(errno), args.answers);
  for (uint32_t it : found) fprintf(file, "%d\n", (int)it - 1);
  if (fclose(file) != 0) fail(strerror(errno), args.answers);
  for (double spentMs = passMs; spentMs < WARM_MS; spentMs += passMs) {
    begin = nowMs();
    pass(found.data());
    passMs = nowMs() - begin;
  }
  int passes = std::max(1, (int)(ROUND_MS / passMs + 0.5));
  std::vector<double> rates;
  for (int round = 0; round < args.rounds; round++) {
    begin = nowMs();
    for (int n = 0; n < passes; n++) pass(found.data());
    rates.push_back(headers * (double)passes / (nowMs() - begin) * 1000);
  }
  printf("{\"program\":\"%s\",\"rules\":%zu,\"headers\":%zu,\"buildMs\":%.3f,\"bytes\":%zu,\"bytesPerRule\":%.1f,"
    "\"lookupsPerSecond\":{\"median\":%.0f,\"least\":%.0f,\"most\":%.0f}}\n", program, rules, headers, buildMs, bytes,
    (double)bytes / rules, median(rates), *std::min_element(rates.begin(), rates.end()),
    *std::max_element(rates.begin(), rates.end()));
}
