/** Names of the micro rows. They stand apart from what they measure, which only the measuring process loads. */
export const MICRO_ROWS = [
  'lookup/flows-16k', 'lookup/flows-1m', 'lookup/mapping-1m',
  'ports/alloc-free-50pct', 'ports/alloc-free-90pct', 'ports/alloc-free-99pct',
  'wheel/refresh-1m', 'wheel/churn-1m',
  'checksum/update', 'checksum/header', 'parse/link-64b', 'parse/look-64b',
] as const
export type MicroRow = (typeof MICRO_ROWS)[number]
