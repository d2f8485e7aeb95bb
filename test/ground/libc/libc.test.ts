import { closeSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { mkdtempSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { dataRanges, punchHole } from '../../../src/ground/libc/libc.ts';

const MIB = 1024 * 1024;
let folder: string;
let fd: number;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'hf-libc-'));
  file = path.join(folder, 'sparse');
  fd = openSync(file, 'w+');
});
afterEach(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

const covered = (offset: number, length: number): Set<number> =>
  new Set(
    [...dataRanges(fd, offset, length)].flatMap((r) => Array.from({ length: Math.ceil(r.length / 4096) }, (_, i) => r.offset / 4096 + i)),
  );

describe('data and holes of a file', () => {
  test('ranges hold all that was written and lie within what was asked for', () => {
    ftruncateSync(fd, 64 * MIB);
    for (const at of [0, 5 * MIB, 63 * MIB]) writeSync(fd, Buffer.alloc(4096, 1), 0, 4096, at);
    for (const at of [0, 5 * MIB, 63 * MIB]) expect(covered(0, 64 * MIB).has(at / 4096)).toBe(true);
    expect([...dataRanges(fd, 0, 64 * MIB)].reduce((sum, r) => sum + r.length, 0)).toBeLessThan(MIB);
    expect([...dataRanges(fd, 6 * MIB, 10 * MIB)]).toEqual([]);
    expect([...dataRanges(fd, 5 * MIB, 100)]).toEqual([{ offset: 5 * MIB, length: 100 }]);
  });

  test('a file without data has no ranges, one of a tebibyte neither', () => {
    ftruncateSync(fd, 1024 * 1024 * MIB);
    expect([...dataRanges(fd, 0, 1024 * 1024 * MIB)]).toEqual([]);
  });

  test('what is not a file that knows holes is one range', () => {
    const other = openSync('/dev/null', 'r');
    expect([...dataRanges(other, 0, 1000)].reduce((sum, r) => sum + r.length, 0)).toBe(1000);
    closeSync(other);
  });

  test('a punched hole reads as zeros, takes no room, and leaves the size', () => {
    writeSync(fd, Buffer.alloc(4 * MIB, 7));
    expect(punchHole(fd, MIB, 2 * MIB)).toBe(true);
    expect(statSync(file).size).toBe(4 * MIB);
    expect(statSync(file).blocks * 512).toBeLessThan(3 * MIB);
    const bytes = readFileSync(file);
    expect(bytes.subarray(MIB, 3 * MIB).equals(Buffer.alloc(2 * MIB))).toBe(true);
    expect(bytes.subarray(0, MIB).equals(Buffer.alloc(MIB, 7))).toBe(true);
  });
});
