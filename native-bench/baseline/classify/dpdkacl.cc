// The ACL library of DPDK (librte_acl), its scalar search: a trie that is built from all rules at once. One thread, batches of
// 256, no huge pages.
#include <cerrno>
#include <thread>
#include <arpa/inet.h>
#include <rte_acl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include "sets.h"

// What is searched, in the order of the wire. The first field must be one byte, the others lie in groups of four.
struct Packet {
  uint8_t protocol, padding[3];
  uint32_t src, dst;
  uint16_t srcPort, dstPort;
};

enum { PROTOCOL, SRC, DST, SRC_PORT, DST_PORT, FIELDS };
RTE_ACL_RULE_DEF(AclRule, FIELDS);

static const int MEMORY_MB = 4096;

static rte_acl_field_def field(uint8_t type, uint8_t size, uint8_t index, uint8_t input, uint32_t offset) {
  rte_acl_field_def def{};
  def.type = type; def.size = size; def.field_index = index; def.input_index = input; def.offset = offset;
  return def;
}

static size_t allocatedBytes() {
  rte_malloc_socket_stats stats{};
  return rte_malloc_get_socket_stats(0, &stats) == 0 ? stats.heap_allocsz_bytes : 0;
}

static void startEal(const char *program) {
  // The thread may run on any core: pinned, it would measure who else is there.
  unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  std::string lcores = "--lcores=0@(0-" + std::to_string(cores - 1) + ")", memory = std::to_string(MEMORY_MB);
  const char *args[] = {program, "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "--log-level=error", "-m",
    memory.c_str(), lcores.c_str()};
  if (rte_eal_init(sizeof args / sizeof *args, const_cast<char **>(args)) < 0) fail(rte_strerror(rte_errno), "rte_eal_init");
}

int main(int argc, char **argv) {
  Arguments args = arguments(argc, argv);
  std::vector<Rule> rules = readRules(args.rules);
  std::vector<Header> headers = readHeaders(args.headers);
  if (rules.size() > RTE_ACL_MAX_PRIORITY) fail("too many rules", args.rules);
  startEal(argv[0]);

  std::vector<Packet> packets;
  std::vector<const uint8_t *> data;
  for (const Header &h : headers) {
    packets.push_back({h.protocol, {}, htonl(h.src), htonl(h.dst), htons(h.srcPort), htons(h.dstPort)});
  }
  for (const Packet &p : packets) data.push_back((const uint8_t *)&p);

  size_t before = allocatedBytes();
  double begin = nowMs();
  rte_acl_param param{};
  param.name = "rules";
  param.socket_id = 0;
  param.rule_size = RTE_ACL_RULE_SZ(FIELDS);
  param.max_rule_num = rules.size();
  rte_acl_ctx *context = rte_acl_create(&param);
  if (context == nullptr) fail(rte_strerror(rte_errno), "rte_acl_create");
  for (size_t place = 0; place < rules.size(); place++) {
    const Rule &r = rules[place];
    AclRule rule{};
    rule.data.category_mask = 1;
    rule.data.priority = RTE_ACL_MAX_PRIORITY - place;
    rule.data.userdata = place + 1;
    rule.field[PROTOCOL].value.u8 = r.protocol;
    rule.field[PROTOCOL].mask_range.u8 = r.protocolMask;
    rule.field[SRC].value.u32 = r.src;
    rule.field[SRC].mask_range.u32 = r.srcBits;
    rule.field[DST].value.u32 = r.dst;
    rule.field[DST].mask_range.u32 = r.dstBits;
    rule.field[SRC_PORT].value.u16 = r.srcLow;
    rule.field[SRC_PORT].mask_range.u16 = r.srcHigh;
    rule.field[DST_PORT].value.u16 = r.dstLow;
    rule.field[DST_PORT].mask_range.u16 = r.dstHigh;
    int error = rte_acl_add_rules(context, (const rte_acl_rule *)&rule, 1);
    if (error != 0) fail(strerror(-error), "rte_acl_add_rules");
  }
  rte_acl_config config{};
  config.num_categories = 1;
  config.num_fields = FIELDS;
  config.defs[PROTOCOL] = field(RTE_ACL_FIELD_TYPE_BITMASK, 1, PROTOCOL, 0, offsetof(Packet, protocol));
  config.defs[SRC] = field(RTE_ACL_FIELD_TYPE_MASK, 4, SRC, 1, offsetof(Packet, src));
  config.defs[DST] = field(RTE_ACL_FIELD_TYPE_MASK, 4, DST, 2, offsetof(Packet, dst));
  config.defs[SRC_PORT] = field(RTE_ACL_FIELD_TYPE_RANGE, 2, SRC_PORT, 3, offsetof(Packet, srcPort));
  config.defs[DST_PORT] = field(RTE_ACL_FIELD_TYPE_RANGE, 2, DST_PORT, 3, offsetof(Packet, dstPort));
  int error = rte_acl_build(context, &config);
  if (error != 0) fail(strerror(-error), "rte_acl_build");
  double buildMs = nowMs() - begin;

  measureAndPrint("dpdk-acl-scalar", args, rules.size(), headers.size(), buildMs, allocatedBytes() - before,
    [&](uint32_t *found) {
      for (size_t n = 0; n < data.size(); n += BATCH) {
        uint32_t many = std::min<size_t>(BATCH, data.size() - n);
        rte_acl_classify_alg(context, &data[n], found + n, many, 1, RTE_ACL_CLASSIFY_SCALAR);
      }
    });
  rte_acl_free(context);
}
