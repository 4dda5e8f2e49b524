/** Sorts the first `count` numbers of a list, in place: a few by insertion, many by the runtime. */
export function sortFirst(list: Int32Array, count: number): void {
  if (count > 64) {
    new Int32Array(list.buffer, list.byteOffset, count).sort()
    return
  }
  for (let n = 1; n < count; n++) {
    const value = list[n]
    let at = n
    for (; at > 0 && list[at - 1] > value; at--) list[at] = list[at - 1]
    list[at] = value
  }
}
