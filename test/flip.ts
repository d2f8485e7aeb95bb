/** Harm to a file, as a disk does it. */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';

/** One bit the other way round, or back again; a negative place counts from the end. */
export function flip(file: string, at: number, bit = 0): void {
  const fd = openSync(file, 'r+');
  try {
    const place = at < 0 ? fstatSync(fd).size + at : at;
    const byte = Buffer.alloc(1);
    if (readSync(fd, byte, 0, 1, place) !== 1) throw new Error(`${file} has no byte ${place}`);
    writeSync(fd, Buffer.from([byte.readUInt8(0) ^ (1 << bit)]), 0, 1, place);
  } finally {
    closeSync(fd);
  }
}
