import test from 'node:test'
import assert from 'node:assert/strict'
import { Failures, RemoteConnections, certificateNames, isLoopback, remoteKey } from './remotes.ts'

test('IPv4, also inside IPv6, is a remote by address, IPv6 by /64', () => {
  assert.equal(remoteKey('192.0.2.1'), remoteKey('::ffff:192.0.2.1'))
  assert.notEqual(remoteKey('192.0.2.1'), remoteKey('192.0.2.2'))
  assert.equal(remoteKey('2001:db8::1'), remoteKey('2001:db8::ffff:1:2'))
  assert.notEqual(remoteKey('2001:db8::1'), remoteKey('2001:db8:0:1::1'))
  assert.equal(remoteKey('fe80::1%eth0'), remoteKey('fe80::2'))
  assert.equal(remoteKey('elsewhere'), 'elsewhere')
})

test('what is loopback', () => {
  for (const host of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1', 'localhost']) assert.ok(isLoopback(host), host)
  for (const host of ['0.0.0.0', '::', '192.0.2.1', '::2', '128.0.0.1', 'example.net', '']) assert.ok(!isLoopback(host), host)
})

test('failures count for a minute, and the table is bounded', () => {
  for (const startMs of [1000, 1e9]) {
    const failures = new Failures(3)
    for (let n = 0; n < 3; n++) {
      assert.ok(!failures.isThrottled('a', startMs))
      failures.add('a', startMs + n)
    }
    assert.ok(failures.isThrottled('a', startMs + 59_999))
    assert.ok(!failures.isThrottled('b', startMs + 59_999))
    assert.ok(!failures.isThrottled('a', startMs + 60_000))
    // The minute begins with the first of them, also when nobody has asked meanwhile.
    for (const afterMs of [60_000, 119_000, 120_500]) failures.add('c', startMs + afterMs)
    assert.ok(!failures.isThrottled('c', startMs + 120_500))
    for (const afterMs of [120_600, 120_700]) failures.add('c', startMs + afterMs)
    assert.ok(failures.isThrottled('c', startMs + 120_700))
    for (let n = 0; n < 10_000; n++) failures.add(`remote ${n}`, startMs + 121_000)
    assert.equal(failures.size, 4096)
  }
})

test('connections by remote: an entry lives as long as a connection', () => {
  const connections = new RemoteConnections()
  connections.add('a')
  connections.add('a')
  connections.remove('a')
  assert.equal(connections.count('a'), 1)
  connections.remove('a')
  assert.equal(connections.size, 0)
})

test('names in certificates: URI, DNS, then the one common name; commas in quotes are part of a name', () => {
  assert.deepEqual(certificateNames({ subject: 'O=x\nCN=b2bua-1', subjectAltName: 'DNS:sip.example, URI:urn:agent:1, IP Address:192.0.2.1' }),
    ['URI:urn:agent:1', 'DNS:sip.example', 'CN:b2bua-1'])
  assert.deepEqual(certificateNames({ subject: 'CN=a\nCN=b', subjectAltName: undefined }), [])
  assert.deepEqual(certificateNames({ subject: '', subjectAltName: 'URI:"http://x/, DNS:admin.example"' }), ['URI:http://x/, DNS:admin.example'])
})
