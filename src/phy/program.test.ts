import assert from 'node:assert/strict'
import { openSync } from 'node:fs'
import { test } from 'node:test'
import { parseAddress, type Address } from '../base/address.ts'
import { inPacket, maySpare, spareKernel, type SparingSystem } from './program.ts'

const address = (text: string): Address => (parseAddress(text) as { ok: true; value: Address }).value

test('what programs are told: addresses as words lie in a packet, of one version', () => {
  const both = ['10.0.0.1', '2001:db8::1', '10.0.0.2'].map(address)
  assert.deepEqual([...new Uint8Array(inPacket(both, 4).buffer)], [10, 0, 0, 1, 10, 0, 0, 2])
  assert.deepEqual([...new Uint8Array(inPacket(both, 6).buffer)], [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
  assert.equal(inPacket([], 4).length, 0)
})

test('whether the kernel would take a program: CAP_NET_ADMIN with CAP_BPF or CAP_SYS_ADMIN, of those in effect', () => {
  const status = (...capabilities: number[]) =>
    `Name:\tnode\nCapPrm:\t000001ffffffffff\nCapEff:\t${capabilities.reduce((all, one) => all | 1n << BigInt(one), 0n).toString(16).padStart(16, '0')}\nCapBnd:\t000001ffffffffff\n`
  assert.deepEqual([[], [13], [12], [39], [21], [12, 13], [12, 39], [12, 21], [21, 39]].map((has) => maySpare(status(...has))),
    [false, false, false, false, false, false, true, true, false])
  assert.equal(maySpare(''), false)
  assert.equal(maySpare('CapEff:\t000001ffffffffff\n'), true)
  assert.equal(typeof maySpare(), 'boolean')
})

test('sparing the kernel: each link by its interface, address and VLAN; again at another interface; what cannot be is said and keeps nothing else', () => {
  const asked: unknown[][] = [], said: string[] = []
  let index = 3
  const system = (fails: string | null): SparingSystem => ({
    may: () => true,
    load: () => ({
      link: (name) => ({ index: index++, mac: [2, 0, 0, 0, 0, name.length] }) as never,
      spare(...told) {
        if (fails !== null) throw new Error(fails)
        asked.push(told.map((one) => one instanceof Int32Array ? one.length : one))
        return openSync('/dev/null', 'r')
      },
    }),
  })
  const links = [{ name: 'in0', kernel: ['10.0.0.1', '2001:db8::1'].map(address) }, { name: 'out0', vlan: 9, kernel: [] }]
  const log = (line: string) => { said.push(line) }
  const spared = spareKernel(links, log, system(null))
  assert.deepEqual(asked.splice(0), [[3, [2, 0, 0, 0, 0, 3], 1, 4, 0], [4, [2, 0, 0, 0, 0, 4], 0, 0, 9]])
  spared.renew(1)
  assert.deepEqual(asked.splice(0), [[5, [2, 0, 0, 0, 0, 4], 0, 0, 9]])
  spared.close()
  spared.close()
  assert.deepEqual(said, [])
  spareKernel(links, log, system('BPF_LINK_CREATE: Invalid argument')).close()
  spareKernel(links, log, { may: () => false, load: () => { throw new Error('asked all the same') } }).close()
  const many = (count: number) => Array.from({ length: count }, (_, n) => address(`10.0.${n >> 8}.${n & 255}`))
  spareKernel([{ name: 'in0', kernel: many(128) }], log, system(null)).close()
  spareKernel([{ name: 'in0', kernel: many(129) }], (line) => { assert.match(line, /^in0: .*\(of its addresses there a program knows 128 of each version, and it has more\)$/) }, system('asked all the same')).close()
  assert.equal(asked.splice(0).length, 1)
  const why = ['BPF_LINK_CREATE: Invalid argument', 'the box has not']
  assert.deepEqual(said.map((line) => /^(in0|out0:9): the kernel takes each packet up its stack as well, .* CAP_NET_ADMIN and CAP_BPF.* \((.*)\)$/.exec(line)?.slice(1)),
    why.flatMap((one) => [['in0', one], ['out0:9', one]]))
})
