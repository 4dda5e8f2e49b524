// Tuple merge as published (Daly, Bruschi, Linguaglossa, Pontarelli, Rossi, Tollet, Torng, Yourtchenko: "TupleMerge: Fast
// Software Packet Processing for Online Packet Classification", IEEE/ACM ToN 2019), in plain C++: one hash table a tuple, tables
// in order of their best rule, and the search ends when no later table can hold a better one.
//
// A tuple says how many bits of each address are hashed, and whether each port and the protocol are. A rule goes into the first
// table whose tuple asks for no more than the rule fixes; for want of one, into a new table whose tuple is the rule's, relaxed.
// When more than COLLIDE rules share a place, those of the table that also fit a finer tuple move into a table of that tuple.
#include <array>
#include <cerrno>
#include <memory>
#include "sets.h"

static const size_t COLLIDE = 10;                              // the limit of the authors' program

enum { SRC, DST, SRC_PORT, DST_PORT, PROTOCOL, FIELDS };
using Tuple = std::array<uint8_t, FIELDS>;                     // bits of the addresses; 16, 16, 8 or 0 of the others

struct Key { uint64_t addresses; uint32_t ports; uint32_t protocol; };

static inline uint32_t hashOf(const Key &key, const Key &mask) {
  uint64_t h = (key.addresses & mask.addresses) * 0x9e3779b97f4a7c15ull;
  h ^= ((uint64_t)(key.ports & mask.ports) << 8 | (key.protocol & mask.protocol)) * 0xc2b2ae3d27d4eb4full;
  h ^= h >> 32;
  h *= 0xff51afd7ed558ccdull;
  return h >> 32;
}

struct Entry {
  uint64_t addresses, mask;
  uint16_t srcLow, srcHigh, dstLow, dstHigh;
  uint8_t protocol, protocolMask;
  uint32_t place;                                              // in the rule set
  int32_t next;                                                // in its bucket, by place; -1: none
};

static std::vector<Rule> rules;
static std::vector<Entry> entries;                             // a rule's is at its place

static Tuple tupleOf(const Rule &r) {
  return {r.srcBits, r.dstBits, (uint8_t)(r.srcLow == r.srcHigh ? 16 : 0), (uint8_t)(r.dstLow == r.dstHigh ? 16 : 0),
    (uint8_t)(r.protocolMask == 0xff ? 8 : 0)};
}

static bool fits(const Tuple &table, const Tuple &rule) {
  for (int f = 0; f < FIELDS; f++) if (table[f] > rule[f]) return false;
  return true;
}

static void relax(Tuple &t) {
  if (t[SRC] > t[DST] + 4) t[DST] = t[DST_PORT] = 0;
  else if (t[DST] > t[SRC] + 4) t[SRC] = t[SRC_PORT] = 0;
  for (int f : {SRC, DST}) t[f] -= t[f] == 32 ? 4 : t[f] > 24 ? 3 : t[f] > 16 ? 2 : t[f] > 8 ? 1 : 0;
}

struct Table {
  Tuple tuple;
  Key mask;
  uint32_t best = ~0u, bucketMask = 15, count = 0;
  std::vector<int32_t> buckets = std::vector<int32_t>(16, -1);

  explicit Table(const Tuple &t) : tuple(t) {
    mask.addresses = (uint64_t)maskOf(t[SRC]) << 32 | maskOf(t[DST]);
    mask.ports = (t[SRC_PORT] ? 0xffff0000u : 0) | (t[DST_PORT] ? 0xffffu : 0);
    mask.protocol = t[PROTOCOL] ? 0xff : 0;
  }

  Key keyOf(const Entry &e) const { return {e.addresses, (uint32_t)e.srcLow << 16 | e.dstLow, e.protocol}; }
  int32_t &bucketOf(const Entry &e) { return buckets[hashOf(keyOf(e), mask) & bucketMask]; }

  void link(uint32_t place) {
    int32_t *at = &bucketOf(entries[place]);
    while (*at >= 0 && (uint32_t)*at < place) at = &entries[*at].next;
    entries[place].next = *at;
    *at = place;
  }

  void insert(uint32_t place) {
    if (++count > buckets.size()) grow();
    link(place);
    best = std::min(best, place);
  }

  void remove(uint32_t place) {
    int32_t *at = &bucketOf(entries[place]);
    while ((uint32_t)*at != place) at = &entries[*at].next;
    *at = entries[place].next;
    count--;
  }

  std::vector<uint32_t> all() const {
    std::vector<uint32_t> out;
    for (int32_t head : buckets) for (int32_t e = head; e >= 0; e = entries[e].next) out.push_back(e);
    std::sort(out.begin(), out.end());
    return out;
  }

  void grow() {
    std::vector<uint32_t> old = all();
    buckets.assign(buckets.size() * 2, -1);
    bucketMask = buckets.size() - 1;
    for (uint32_t place : old) link(place);
  }

  // Those that share the hashed part with the rule.
  std::vector<uint32_t> sharing(uint32_t place) {
    Key own = keyOf(entries[place]);
    std::vector<uint32_t> out;
    for (int32_t e = bucketOf(entries[place]); e >= 0; e = entries[e].next) {
      Key key = keyOf(entries[e]);
      if ((((key.addresses ^ own.addresses) & mask.addresses) | ((key.ports ^ own.ports) & mask.ports)
        | ((key.protocol ^ own.protocol) & mask.protocol)) == 0) out.push_back(e);
    }
    return out;
  }
};

static std::vector<std::unique_ptr<Table>> tables;

static void sortTables() {
  std::stable_sort(tables.begin(), tables.end(), [](const auto &a, const auto &b) { return a->best < b->best; });
}

static Table &open(const Tuple &tuple) {
  for (auto &table : tables) if (table->tuple == tuple) return *table;
  tables.push_back(std::make_unique<Table>(tuple));
  return *tables.back();
}

static void split(Table &table, const std::vector<uint32_t> &crowd) {
  Tuple least = tupleOf(rules[crowd[0]]), most = least;
  for (uint32_t place : crowd) {
    Tuple t = tupleOf(rules[place]);
    for (int f = 0; f < FIELDS; f++) {
      least[f] = std::min(least[f], t[f]);
      most[f] = std::max(most[f], t[f]);
    }
  }
  int widest = SRC;
  for (int f = 0; f < FIELDS; f++) if (most[f] - least[f] > most[widest] - least[widest]) widest = f;
  // A port or the protocol is hashed whole or not at all.
  least[widest] = widest >= SRC_PORT ? most[widest] : (most[widest] + least[widest]) / 2;
  if (least == table.tuple) return;
  Table &target = open(least);
  if (&target == &table) return;
  for (uint32_t place : table.all()) {
    if (!fits(least, tupleOf(rules[place]))) continue;
    table.remove(place);
    target.insert(place);
  }
  std::vector<uint32_t> left = table.all();
  table.best = left.empty() ? ~0u : left[0];
  sortTables();
}

static void insert(uint32_t place) {
  Tuple tuple = tupleOf(rules[place]);
  for (auto &table : tables) {
    if (!fits(table->tuple, tuple)) continue;
    uint32_t before = table->best;
    table->insert(place);
    std::vector<uint32_t> crowd = table->sharing(place);
    if (crowd.size() > COLLIDE) split(*table, crowd);
    else if (before != table->best) sortTables();
    return;
  }
  relax(tuple);
  open(tuple).insert(place);
  sortTables();
}

// What a look-up reads of a table, side by side.
struct Probe { Key mask; uint32_t best, bucketMask; const int32_t *buckets; };
static std::vector<Probe> probes;

static inline uint32_t lookup(const Header &h) {
  const Key key{(uint64_t)h.src << 32 | h.dst, (uint32_t)h.srcPort << 16 | h.dstPort, h.protocol};
  uint32_t found = ~0u;
  for (const Probe &t : probes) {
    if (t.best > found) break;
    for (int32_t at = t.buckets[hashOf(key, t.mask) & t.bucketMask]; at >= 0; at = entries[at].next) {
      const Entry &e = entries[at];
      if (e.place > found) break;
      if (((key.addresses ^ e.addresses) & e.mask) == 0 && h.srcPort >= e.srcLow && h.srcPort <= e.srcHigh && h.dstPort >= e.dstLow
        && h.dstPort <= e.dstHigh && (h.protocol & e.protocolMask) == e.protocol) {
        found = e.place;
        break;
      }
    }
  }
  return found + 1;
}

int main(int argc, char **argv) {
  Arguments args = arguments(argc, argv);
  rules = readRules(args.rules);
  std::vector<Header> headers = readHeaders(args.headers);
  double begin = nowMs();
  entries.reserve(rules.size());
  for (uint32_t place = 0; place < rules.size(); place++) {
    const Rule &r = rules[place];
    entries.push_back({(uint64_t)r.src << 32 | r.dst, (uint64_t)maskOf(r.srcBits) << 32 | maskOf(r.dstBits), r.srcLow, r.srcHigh,
      r.dstLow, r.dstHigh, r.protocol, r.protocolMask, place, -1});
    insert(place);
  }
  for (auto &t : tables) if (t->count > 0) probes.push_back({t->mask, t->best, t->bucketMask, t->buckets.data()});
  double buildMs = nowMs() - begin;
  size_t bytes = entries.size() * sizeof(Entry) + probes.size() * sizeof(Probe);
  for (auto &t : tables) bytes += sizeof(Table) + t->buckets.size() * sizeof(int32_t);
  if (getenv("TUPLEMERGE_TABLES") != nullptr) fprintf(stderr, "%zu tables\n", probes.size());
  measureAndPrint("tuplemerge", args, rules.size(), headers.size(), buildMs, bytes, [&](uint32_t *found) {
    for (size_t n = 0; n < headers.size(); n++) found[n] = lookup(headers[n]);
  });
}
