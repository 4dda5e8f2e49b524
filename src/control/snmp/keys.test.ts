import assert from 'node:assert/strict'
import { createCipheriv, createHash, createHmac } from 'node:crypto'
import { test } from 'node:test'
import { AUTH_PROTOCOLS, decrypt, encrypt, isSameMac, localize, localizeKey, masterKeys, messageMac, passwordToKey, privacyKey, PRIV_PROTOCOLS, type AuthName } from './keys.ts'

const engineId = Buffer.from('000000000000000000000002', 'hex')

test('keys: maplesyrup becomes the keys of RFC 3414 A.3.2 (SHA-1)', () => {
  const { SHA } = AUTH_PROTOCOLS
  const ku = passwordToKey(SHA, 'maplesyrup')
  assert.equal(ku.toString('hex'), '9fb5cc0381497b3793528939ff788d5d79145211')
  assert.equal(localizeKey(SHA, ku, engineId).toString('hex'), '6695febc9288e36282235fc7151f128497b38f3f')
})

test('keys: maplesyrup localized by the hashes of RFC 7860', () => {
  const kul = (name: AuthName) => localizeKey(AUTH_PROTOCOLS[name], passwordToKey(AUTH_PROTOCOLS[name], 'maplesyrup'), engineId).toString('hex')
  assert.equal(kul('SHA-224'), '0bd8827c6e29f8065e08e09237f177e410f69b90e1782be682075674')
  assert.equal(kul('SHA-256'), '8982e0e549e866db361a6b625d84cccc11162d453ee8ce3a6445c2d6776f0f8b')
  assert.deepEqual([kul('SHA-384').length, kul('SHA-512').length], [96, 128])
})

test('keys: MACs have the lengths of RFC 3414 and RFC 7860 and are the beginnings of HMACs', () => {
  const lengths = { 'SHA': 12, 'SHA-224': 16, 'SHA-256': 24, 'SHA-384': 32, 'SHA-512': 48 }
  for (const [name, bytes] of Object.entries(lengths) as [AuthName, number][]) {
    const master = masterKeys(name, 'maplesyrup', 'AES', 'maplesyrup'), keys = localize(master, engineId)
    const kul = localizeKey(master.auth, master.authKu, engineId), message = Buffer.from('a message')
    assert.deepEqual(messageMac(keys, message), createHmac(master.auth.hash, kul).update(message).digest().subarray(0, bytes))
    assert.equal(master.auth.macBytes, bytes)
  }
})

test('keys: AES takes boots, time and salt as its vector (RFC 3826 3.1.2.1) and the first octets of the localized key', () => {
  for (const priv of ['AES', 'AES-256'] as const) {
    const master = masterKeys('SHA', 'maplesyrup', priv, 'ice-cream'), keys = localize(master, engineId)
    const salt = Buffer.from('0102030405060708', 'hex'), plain = Buffer.from('something of 19 oct')
    const secret = encrypt(keys, 0x01020304, 0x05060708, salt, plain)
    const key = privacyKey(master.auth, PRIV_PROTOCOLS[priv], localizeKey(master.auth, master.privKu!, engineId))
    const reference = createCipheriv(PRIV_PROTOCOLS[priv].cipher, key, Buffer.from('01020304050607080102030405060708', 'hex'))
    assert.deepEqual(secret, Buffer.concat([reference.update(plain), reference.final()]))
    assert.deepEqual(decrypt(keys, 0x01020304, 0x05060708, salt, secret), plain)
    assert.equal(key.length, priv === 'AES' ? 16 : 32)
  }
})

test('keys: a localized key that is too short for AES-256 goes on with its own digest (Blumenthal)', () => {
  const { SHA } = AUTH_PROTOCOLS, kul = localizeKey(SHA, passwordToKey(SHA, 'maplesyrup'), engineId)
  const key = privacyKey(SHA, PRIV_PROTOCOLS['AES-256'], kul)
  assert.deepEqual(key.subarray(0, 20), kul)
  assert.equal(key.toString('hex').slice(40), createHash('sha1').update(kul).digest('hex').slice(0, 24))
})

test('keys: MACs of different lengths are different', () => {
  assert.equal(isSameMac(Buffer.of(1, 2), Buffer.of(1, 2)), true)
  assert.equal(isSameMac(Buffer.of(1, 2), Buffer.of(1, 3)), false)
  assert.equal(isSameMac(Buffer.of(1, 2), Buffer.of(1)), false)
})
