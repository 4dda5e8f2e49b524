-- Wireshark dissector for SIMCO 3.0 (RFC 4540), TCP port 7626. Load it with
--   tshark -X lua_script:docs/simco.lua -r capture.pcapng
-- or put it into the plugins folder of Wireshark. For other ports: "Decode As", or -d tcp.port==1234,simco.
-- Over TLS the sessions have to be decrypted first, then: -d tls.port==7626,simco.

local simco = Proto("simco", "Simple Middlebox Configuration Protocol")

local basic_types = { [1] = "request", [2] = "positive reply", [3] = "negative reply", [4] = "notification" }

local message_types = {
  [0x0101] = "SE request", [0x0102] = "SA request", [0x0103] = "ST request",
  [0x0111] = "PRR request", [0x0112] = "PER request", [0x0113] = "PEA request", [0x0114] = "PDR request",
  [0x0115] = "PLC request", [0x0121] = "PRS request", [0x0122] = "PRL request",
  [0x0201] = "SE reply", [0x0202] = "SA reply", [0x0203] = "ST reply",
  [0x0211] = "PRR reply", [0x0212] = "PER reply", [0x0214] = "PDR reply", [0x0215] = "PLC reply", [0x0216] = "PRD reply",
  [0x0221] = "PRS reply", [0x0222] = "PRL reply", [0x0223] = "PES reply", [0x0224] = "PDS reply",
  [0x0310] = "wrong basic request message type", [0x0311] = "wrong request message sub-type",
  [0x0312] = "badly formed request", [0x0313] = "reply message too big",
  [0x0320] = "request not applicable", [0x0321] = "lack of resources", [0x0322] = "protocol version mismatch",
  [0x0323] = "authentication failed", [0x0324] = "no authorization", [0x0325] = "transport protocol problem",
  [0x0326] = "security of underlying protocol layers insufficient",
  [0x0340] = "transaction not supported", [0x0341] = "agent not authorized for this transaction",
  [0x0342] = "no resources available for this transaction", [0x0343] = "specified policy rule does not exist",
  [0x0344] = "specified policy rule group does not exist", [0x0345] = "not authorized for accessing specified policy",
  [0x0346] = "not authorized for accessing specified group", [0x0347] = "requested address space not available",
  [0x0348] = "lack of IP addresses", [0x0349] = "lack of port numbers", [0x034a] = "middlebox configuration failed",
  [0x034b] = "inconsistent request", [0x034c] = "requested wildcarding not supported",
  [0x034d] = "protocol type does not match", [0x034e] = "NAT mode not supported", [0x034f] = "IP version mismatch",
  [0x0350] = "conflict with existing rule", [0x0351] = "not authorized to change lifetime",
  [0x0352] = "lifetime cannot be extended", [0x0353] = "illegal IP address", [0x0354] = "protocol type not supported",
  [0x0355] = "illegal port number", [0x0356] = "illegal number of subsequent ports", [0x0357] = "already enable PID",
  [0x0358] = "parity does not match",
  [0x0401] = "BFM, badly formed message received", [0x0402] = "AST, asynchronous session termination",
  [0x0403] = "ARE, asynchronous policy rule event",
}

local VERSION, CHALLENGE, TOKEN, CAPABILITIES, PID, GID, LIFETIME, OWNER, TUPLE, PRR_SET, PER_SET = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local attribute_types = {
  [VERSION] = "SIMCO protocol version", [CHALLENGE] = "authentication challenge", [TOKEN] = "authentication token",
  [CAPABILITIES] = "middlebox capabilities", [PID] = "policy rule identifier", [GID] = "group identifier",
  [LIFETIME] = "policy rule lifetime", [OWNER] = "policy rule owner", [TUPLE] = "address tuple",
  [PRR_SET] = "PRR parameter set", [PER_SET] = "PER parameter set",
}
-- Octets of the value; the others have a range.
local fixed_lengths = { [VERSION] = 4, [CAPABILITIES] = 8, [PID] = 4, [GID] = 4, [LIFETIME] = 4, [PRR_SET] = 4, [PER_SET] = 4 }
local longest = { [CHALLENGE] = 4096, [TOKEN] = 4096, [OWNER] = 255 }
local MAX_PAYLOAD = 65528

-- Attributes of each message in order (RFC 4540 5): a letter each, upper case is mandatory, "p*" any number of PIDs.
local letters = { v = VERSION, c = CHALLENGE, t = TOKEN, b = CAPABILITIES, p = PID, g = GID, l = LIFETIME, o = OWNER, a = TUPLE, r = PRR_SET, e = PER_SET }
local formats = {
  [0x0101] = "Vc", [0x0102] = "t", [0x0103] = "", [0x0111] = "RLg", [0x0112] = "EAALg", [0x0113] = "EAALP", [0x0114] = "AAL",
  [0x0115] = "PL", [0x0121] = "P", [0x0122] = "",
  [0x0201] = "B", [0x0202] = "ct", [0x0203] = "", [0x0211] = "PGLAa", [0x0212] = "PGLAa", [0x0214] = "PL", [0x0215] = "L",
  [0x0216] = "", [0x0221] = "PGLAaO", [0x0222] = "*", [0x0223] = "PGEAAAALO", [0x0224] = "PAALO", [0x0322] = "V",
  [0x0401] = "", [0x0402] = "", [0x0403] = "PL",
}

local locations = { [0] = "internal", [1] = "inside", [2] = "outside", [3] = "external" }
local forms = { [0] = "full addresses", [1] = "protocols only" }
local tuple_versions = { [1] = "IPv4", [2] = "IPv6" }
local any_versions = { [0] = "any", [1] = "IPv4", [2] = "IPv6" }
local box_versions = { [1] = "IPv4", [2] = "IPv6", [3] = "IPv4 and IPv6" }
local parities = { [0] = "any", [1] = "odd", [2] = "even", [3] = "same" }
local directions = { [1] = "inbound", [2] = "outbound", [3] = "bi-directional" }
local nat_modes = { [1] = "traditional", [2] = "twice" }

local f = simco.fields
f.basic = ProtoField.uint8("simco.basic_type", "Basic type", base.HEX, basic_types)
f.sub = ProtoField.uint8("simco.sub_type", "Sub-type", base.HEX)
f.type = ProtoField.uint16("simco.type", "Message type", base.HEX, message_types)
f.length = ProtoField.uint16("simco.length", "Payload length")
f.tid = ProtoField.uint32("simco.tid", "Transaction identifier")
f.attribute = ProtoField.uint16("simco.attribute", "Attribute", base.HEX, attribute_types)
f.attribute_length = ProtoField.uint16("simco.attribute.length", "Length")
f.value = ProtoField.bytes("simco.attribute.value", "Value")
f.reserved = ProtoField.bytes("simco.reserved", "Reserved")
f.major = ProtoField.uint8("simco.version.major", "Major version")
f.minor = ProtoField.uint8("simco.version.minor", "Minor version")
f.challenge = ProtoField.bytes("simco.challenge", "Authentication challenge")
f.token = ProtoField.bytes("simco.token", "Authentication token")
f.pid = ProtoField.uint32("simco.pid", "Policy rule identifier")
f.gid = ProtoField.uint32("simco.gid", "Group identifier")
f.lifetime = ProtoField.uint32("simco.lifetime", "Lifetime (s)")
f.owner = ProtoField.string("simco.owner", "Owner", base.UNICODE)
f.firewall = ProtoField.bool("simco.capabilities.firewall", "Packet filter firewall", 8, nil, 0x80)
f.nat = ProtoField.bool("simco.capabilities.nat", "Network address translator", 8, nil, 0x40)
f.pdr = ProtoField.bool("simco.capabilities.pdr", "Policy disable rules", 8, nil, 0x10)
f.twice = ProtoField.bool("simco.capabilities.twice_nat", "Twice-NAT", 8, nil, 0x04)
f.protocol_translation = ProtoField.bool("simco.capabilities.protocol_translation", "Protocol translation", 8, nil, 0x02)
f.port_translation = ProtoField.bool("simco.capabilities.port_translation", "Port translation", 8, nil, 0x01)
f.internal_wildcards = ProtoField.bool("simco.capabilities.internal_wildcards", "Internal address wildcards", 8, nil, 0x80)
f.external_wildcards = ProtoField.bool("simco.capabilities.external_wildcards", "External address wildcards", 8, nil, 0x40)
f.port_wildcards = ProtoField.bool("simco.capabilities.port_wildcards", "Port wildcards", 8, nil, 0x20)
f.persistent = ProtoField.bool("simco.capabilities.persistent", "Persistent rules", 8, nil, 0x10)
f.internal_versions = ProtoField.uint8("simco.capabilities.internal_versions", "Internal IP versions", base.DEC, box_versions, 0x0c)
f.external_versions = ProtoField.uint8("simco.capabilities.external_versions", "External IP versions", base.DEC, box_versions, 0x03)
f.max_lifetime = ProtoField.uint32("simco.capabilities.max_lifetime", "Maximum lifetime (s)")
f.form = ProtoField.uint8("simco.tuple.form", "Form", base.DEC, forms, 0xf0)
f.tuple_version = ProtoField.uint8("simco.tuple.ip_version", "IP version", base.DEC, tuple_versions, 0x0f)
f.prefix = ProtoField.uint8("simco.tuple.prefix_length", "Prefix length")
f.protocol = ProtoField.uint8("simco.tuple.protocol", "Transport protocol (0: any)")
f.location = ProtoField.uint8("simco.tuple.location", "Location", base.DEC, locations)
f.port = ProtoField.uint16("simco.tuple.port", "Port (0: any)")
f.range = ProtoField.uint16("simco.tuple.port_range", "Port range")
f.ipv4 = ProtoField.ipv4("simco.tuple.ipv4", "IPv4 address")
f.ipv6 = ProtoField.ipv6("simco.tuple.ipv6", "IPv6 address")
f.nat_mode = ProtoField.uint8("simco.prr.nat_mode", "NAT mode", base.DEC, nat_modes, 0xc0)
f.port_parity = ProtoField.uint8("simco.prr.port_parity", "Port parity", base.DEC, parities, 0x30)
f.inside_version = ProtoField.uint8("simco.prr.inside_ip_version", "Inside IP version", base.DEC, any_versions, 0x0c)
f.outside_version = ProtoField.uint8("simco.prr.outside_ip_version", "Outside IP version", base.DEC, any_versions, 0x03)
f.prr_protocol = ProtoField.uint8("simco.prr.protocol", "Transport protocol (0: address only)")
f.prr_range = ProtoField.uint16("simco.prr.port_range", "Port range (65535: all ports)")
f.per_parity = ProtoField.uint8("simco.per.port_parity", "Port parity", base.DEC, parities)
f.direction = ProtoField.uint8("simco.per.direction", "Direction", base.DEC, directions)

local malformed = ProtoExpert.new("simco.malformed", "Malformed SIMCO message", expert.group.MALFORMED, expert.severity.ERROR)
local undefined = ProtoExpert.new("simco.undefined", "Undefined SIMCO value", expert.group.PROTOCOL, expert.severity.WARN)
local refused = ProtoExpert.new("simco.refused", "SIMCO request was refused", expert.group.RESPONSE_CODE, expert.severity.NOTE)
simco.experts = { malformed, undefined, refused }

local HEADER = 8

local function want(values, number, tree, what)
  if values[number] == nil then tree:add_proto_expert_info(undefined, string.format("%s %d is undefined", what, number)) end
end

local function protocol_name(number)
  return ({ [0] = "any", [6] = "tcp", [17] = "udp" })[number] or "protocol " .. number
end

-- Returns a short text for the summary, or nil and what is wrong with the length.
local function tuple(value, tree)
  local bytes = value:len()
  if bytes < 4 then return nil, "an address tuple has 4, 12 or 24 octets" end
  local form, version = bit.rshift(value(0, 1):uint(), 4), bit.band(value(0, 1):uint(), 15)
  tree:add(f.form, value(0, 1))
  tree:add(f.tuple_version, value(0, 1))
  tree:add(f.prefix, value(1, 1))
  tree:add(f.protocol, value(2, 1))
  tree:add(f.location, value(3, 1))
  want(tuple_versions, version, tree, "IP version")
  want(locations, value(3, 1):uint(), tree, "location")
  local place = "A" .. value(3, 1):uint()
  if form == 1 then
    if bytes ~= 4 then return nil, "a tuple of protocols only has 4 octets" end
    return string.format("%s %s *", place, protocol_name(value(2, 1):uint()))
  end
  if form ~= 0 then return nil, string.format("tuple form %d is undefined", form) end
  if not (bytes == 12 and version ~= 2 or bytes == 24 and version ~= 1) then
    return nil, "the length of the tuple does not fit its IP version"
  end
  tree:add(f.port, value(4, 2))
  local range = tree:add(f.range, value(6, 2))
  if value(6, 2):uint() == 0 then range:add_proto_expert_info(undefined, "a port range is at least 1") end
  local address
  if bytes == 12 then
    tree:add(f.ipv4, value(8, 4))
    address = tostring(value(8, 4):ipv4())
  else
    tree:add(f.ipv6, value(8, 16))
    address = "[" .. tostring(value(8, 16):ipv6()) .. "]"
  end
  local port, ports = value(4, 2):uint(), value(6, 2):uint()
  return string.format("%s %s %s/%d:%s", place, protocol_name(value(2, 1):uint()), address, value(1, 1):uint(),
    port == 0 and "*" or ports > 1 and port .. "+" .. ports or port)
end

local readers = {
  [VERSION] = function(value, tree)
    tree:add(f.major, value(0, 1))
    tree:add(f.minor, value(1, 1))
    tree:add(f.reserved, value(2, 2))
    return string.format("version %d.%d", value(0, 1):uint(), value(1, 1):uint())
  end,
  [CHALLENGE] = function(value, tree)
    tree:add(f.challenge, value())
    return "challenge"
  end,
  [TOKEN] = function(value, tree)
    tree:add(f.token, value())
    return "token"
  end,
  [CAPABILITIES] = function(value, tree)
    for _, field in ipairs({ f.firewall, f.nat, f.pdr, f.twice, f.protocol_translation, f.port_translation }) do tree:add(field, value(0, 1)) end
    for _, field in ipairs({ f.internal_wildcards, f.external_wildcards, f.port_wildcards, f.persistent, f.internal_versions, f.external_versions }) do
      tree:add(field, value(1, 1))
    end
    tree:add(f.reserved, value(2, 2))
    tree:add(f.max_lifetime, value(4, 4))
    return "capabilities"
  end,
  [PID] = function(value, tree)
    tree:add(f.pid, value())
    return "PID " .. value():uint()
  end,
  [GID] = function(value, tree)
    tree:add(f.gid, value())
    return "GID " .. value():uint()
  end,
  [LIFETIME] = function(value, tree)
    tree:add(f.lifetime, value())
    return value():uint() .. " s"
  end,
  [OWNER] = function(value, tree)
    tree:add_packet_field(f.owner, value(), ENC_UTF_8)
    return "owner"
  end,
  [TUPLE] = tuple,
  [PRR_SET] = function(value, tree)
    local first = value(0, 1):uint()
    tree:add(f.nat_mode, value(0, 1))
    tree:add(f.port_parity, value(0, 1))
    tree:add(f.inside_version, value(0, 1))
    tree:add(f.outside_version, value(0, 1))
    tree:add(f.prr_protocol, value(1, 1))
    tree:add(f.prr_range, value(2, 2))
    want(nat_modes, bit.rshift(first, 6), tree, "NAT mode")
    if bit.band(bit.rshift(first, 4), 3) == 3 then want({}, 3, tree, "port parity") end
    want(any_versions, bit.band(bit.rshift(first, 2), 3), tree, "inside IP version")
    want(any_versions, bit.band(first, 3), tree, "outside IP version")
    local ports = value(2, 2):uint()
    return protocol_name(value(1, 1):uint()) .. (ports == 0xffff and ", all ports" or ports ~= 1 and ", " .. ports .. " ports" or "")
  end,
  [PER_SET] = function(value, tree)
    tree:add(f.per_parity, value(0, 1))
    tree:add(f.direction, value(1, 1))
    tree:add(f.reserved, value(2, 2))
    want({ [0] = true, [3] = true }, value(0, 1):uint(), tree, "port parity")
    want(directions, value(1, 1):uint(), tree, "direction")
    return directions[value(1, 1):uint()] or "direction?"
  end,
}

-- Does the list of attributes fit the message?
local function fits(format, seen)
  local at = 1
  if format == "*" then
    for _, attribute in ipairs(seen) do if attribute ~= PID then return false end end
    return true
  end
  for letter in format:gmatch(".") do
    if seen[at] == letters[letter:lower()] then at = at + 1
    elseif letter ~= letter:lower() then return false end
  end
  return at == #seen + 1
end

local function payload(buffer, tree, message_type)
  local at, seen, summary = HEADER, {}, {}
  while at < buffer:len() do
    local left = buffer:len() - at
    if left < 4 then
      tree:add_proto_expert_info(malformed, "octets behind the last attribute")
      return summary
    end
    local attribute, bytes = buffer(at, 2):uint(), buffer(at + 2, 2):uint()
    local whole = math.min(4 + bytes, left)
    local branch = tree:add(f.attribute, buffer(at, 2))
    branch:set_len(whole)
    branch:add(f.attribute_length, buffer(at + 2, 2))
    if bytes > left - 4 then
      branch:add_proto_expert_info(malformed, "the attribute runs past the message")
      return summary
    end
    local name = attribute_types[attribute]
    if name == nil then branch:add_proto_expert_info(malformed, "unknown attribute")
    elseif fixed_lengths[attribute] ~= nil and fixed_lengths[attribute] ~= bytes or longest[attribute] ~= nil and bytes > longest[attribute] then
      branch:add_proto_expert_info(malformed, "wrong length of " .. name)
      if bytes > 0 then branch:add(f.value, buffer(at + 4, bytes)) end
    elseif bytes == 0 and attribute == TUPLE then branch:add_proto_expert_info(malformed, "an address tuple has 4, 12 or 24 octets")
    elseif bytes == 0 then
      -- Tokens, challenges and owners may be empty, and there is no range of no octets.
      branch:append_text(": empty")
      summary[#summary + 1] = "no " .. name
    else
      local text, wrong = readers[attribute](buffer(at + 4, bytes):tvb(), branch)
      if text == nil then branch:add_proto_expert_info(malformed, wrong) else
        branch:append_text(": " .. text)
        summary[#summary + 1] = text
      end
    end
    seen[#seen + 1] = attribute
    at = at + whole
  end
  local format = formats[message_type] or (bit.rshift(message_type, 8) == 3 and "")
  if format and not fits(format, seen) then
    tree:add_proto_expert_info(malformed, "the attributes do not fit the message type")
  end
  return summary
end

-- Several messages may share a segment.
local is_first = true

local function message(buffer, pinfo, root)
  local message_type, bytes = buffer(0, 2):uint(), buffer(2, 2):uint()
  local basic, sub = buffer(0, 1):uint(), buffer(1, 1):uint()
  local name = message_types[message_type]
  local tree = root:add(simco, buffer())
  tree:add(f.basic, buffer(0, 1))
  tree:add(f.sub, buffer(1, 1))
  tree:add(f.type, buffer(0, 2)):set_generated()
  tree:add(f.length, buffer(2, 2))
  tree:add(f.tid, buffer(4, 4))
  tree:append_text(string.format(", %s, TID %d", name or "unknown message", buffer(4, 4):uint()))
  if bytes > MAX_PAYLOAD then tree:add_proto_expert_info(malformed, "a message of more than 65,536 octets") end
  if basic_types[basic] == nil then tree:add_proto_expert_info(malformed, "unknown basic type")
  elseif name == nil then tree:add_proto_expert_info(malformed, "unknown sub-type") end
  if basic == 3 then tree:add_proto_expert_info(refused, string.format("0x%04x %s", message_type, name or "unassigned")) end
  local summary = payload(buffer, tree, message_type)
  pinfo.cols.info:append(string.format("%s%s %d%s", is_first and "" or "; ", name or string.format("unknown 0x%04x", message_type), buffer(4, 4):uint(),
    #summary > 0 and " (" .. table.concat(summary, ", ", 1, math.min(#summary, 6)) .. ")" or ""))
  pinfo.cols.info:fence()
  is_first = false
  return bytes + HEADER
end

function simco.dissector(tvb, pinfo, root)
  pinfo.cols.protocol = "SIMCO"
  pinfo.cols.info = ""
  is_first = true
  dissect_tcp_pdus(tvb, root, HEADER, function(buffer, _, offset) return HEADER + buffer(offset + 2, 2):uint() end, message)
  return tvb:len()
end

DissectorTable.get("tcp.port"):add(7626, simco)
DissectorTable.get("tls.port"):add(7626, simco)
