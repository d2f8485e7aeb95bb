/**
 * Names of columns at an output. A source may have names that differ in case only, are empty, or are longer than a target's; each
 * column gets one of its own, which is the source's wherever that can be.
 */

/** PostgreSQL cuts longer ones off. */
const NAME_BYTES_MAX = 63;

function cutTo(name: string, bytesMax: number): string {
  let cut = name;
  while (Buffer.byteLength(cut) > bytesMax) cut = cut.slice(0, -1);
  // Half a surrogate pair is no character.
  return cut.isWellFormed() ? cut : cut.slice(0, -1);
}

/** A name for each, none twice though case is not looked at, none longer than 63 bytes, none with a NUL. */
export function outputNames(names: readonly string[]): string[] {
  const taken = new Set<string>();
  return names.map((name, i) => {
    const plain = cutTo(name.replaceAll('\0', '_').toWellFormed(), NAME_BYTES_MAX) || `column_${i + 1}`;
    let free = plain;
    for (let n = 2; taken.has(free.toLowerCase()); n++) free = `${cutTo(plain, NAME_BYTES_MAX - 8)}_${n}`;
    taken.add(free.toLowerCase());
    return free;
  });
}
