/** The packets of `natbase newflow`: UDP in frames of 64 bytes, each from an inside endpoint of its own to a random peer. */
const HEAD = Uint8Array.of(2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 50, 0, 0, 0x40, 0, 64, 17, 0, 0)
const MASK = (1n << 64n) - 1n

/** The n-th frame; the same bytes as in natbase.c. */
export function makeFrame(to: Buffer, at: number, n: number, hosts: number): void {
  to.fill(0, at, at + 64)
  to.set(HEAD, at)
  const product = (BigInt(n) * 0x9e3779b97f4a7c15n + 1n & MASK) * 0xe7037ed1a0b428dbn
  const peer = Number((product ^ product >> 64n) & 0xffffffn)
  to.writeUInt32BE(0x0a000000 + n % hosts, at + 26)
  to.writeUInt32BE(0x2d000000 + peer, at + 30)
  to.writeUInt16BE(1024 + (Math.floor(n / hosts) * 7919 + n % hosts * 31) % 64512, at + 34)
  to.writeUInt16BE(443, at + 36)
  to.writeUInt16BE(30, at + 38)
  let sum = 0
  for (let word = at + 14; word < at + 34; word += 2) sum += to.readUInt16BE(word)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  to.writeUInt16BE(~sum & 0xffff, at + 24)
}
