/** Blocks of pcapng (draft-ietf-opsawg-pcapng) that are written rarely, as bytes: little endian, stamps in nanoseconds. */
import { BLOCK_INTERFACE, BLOCK_SECTION, BYTE_ORDER_MAGIC, IF_TSRESOL } from './pcapng.ts'

export const OPT_COMMENT = 1
const SHB_USERAPPL = 4
export const MAX_OPTION_BYTES = 65_535

export type BlockOption = [code: number, value: string | Uint8Array]

/** "Section Header Block". The length of the section is left open (all ones): a pipe cannot be rewound. */
export function sectionBlock(comments: readonly string[]): Uint8Array {
  const options: BlockOption[] = comments.map((text) => [OPT_COMMENT, text])
  const body = new DataView(new ArrayBuffer(16))
  body.setUint32(0, BYTE_ORDER_MAGIC, true)
  body.setUint16(4, 1, true)
  body.setInt32(8, -1, true)
  body.setInt32(12, -1, true)
  return encodeBlock(BLOCK_SECTION, new Uint8Array(body.buffer), encodeOptions([...options, [SHB_USERAPPL, 'pinhole']]))
}

/** "Interface Description Block", with stamps in 10^-9 s. */
export function interfaceBlock(link: number, snapBytes: number, options: readonly BlockOption[]): Uint8Array {
  const body = new DataView(new ArrayBuffer(8))
  body.setUint16(0, link, true)
  body.setUint32(4, snapBytes, true)
  return encodeBlock(BLOCK_INTERFACE, new Uint8Array(body.buffer), encodeOptions([...options, [IF_TSRESOL, Uint8Array.of(9)]]))
}

export function encodeBlock(type: number, body: Uint8Array, options: Uint8Array): Uint8Array {
  const bytes = 12 + body.length + options.length
  const block = new Uint8Array(bytes), view = new DataView(block.buffer)
  view.setUint32(0, type, true)
  view.setUint32(4, bytes, true)
  block.set(body, 8)
  block.set(options, 8 + body.length)
  view.setUint32(bytes - 4, bytes, true)
  return block
}

/** "Options": each padded to 32 bits, an empty one at the end. A text that is too long loses its end. */
export function encodeOptions(options: readonly BlockOption[]): Uint8Array {
  const parts: number[] = []
  for (const [code, value] of options) {
    const all = typeof value === 'string' ? new TextEncoder().encode(value) : value
    const bytes = all.subarray(0, MAX_OPTION_BYTES)
    parts.push(code & 0xff, code >> 8, bytes.length & 0xff, bytes.length >> 8)
    for (const byte of bytes) parts.push(byte)
    while (parts.length % 4 !== 0) parts.push(0)
  }
  parts.push(0, 0, 0, 0)
  return Uint8Array.from(parts)
}
