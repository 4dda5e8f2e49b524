/** Figures as people read them. */

/** With a comma for each thousand. */
export function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',')
}

/** A number of things, by the word for one of them: `1 packet`, `2,000 packets`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${grouped(value)} ${value === 1 ? one : many}`
}

export function quantity({ packets, bytes }: { packets: number; bytes: number }): string {
  return `${counted(packets, 'packet')}, ${counted(bytes, 'byte')}`
}

/** Milliseconds as seconds, to the millisecond. */
export function seconds(ms: number): string {
  const [whole, rest] = (ms / 1000).toFixed(3).split('.')
  return `${grouped(Number(whole))}.${rest} s`
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`
}

/** Lines of a summary: what they are about, and what is to be said of it. */
export function inColumns(lines: readonly (readonly string[])[]): string {
  return lines.map(([label, text]) => `${label!.padEnd(13)}${text}`).join('\n')
}
