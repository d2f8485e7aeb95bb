/** Whoever is told of a served volume's changes hears of them in the order and in the turn in which they are made, and of what was made only. */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Change, ChangePort } from '../../../src/engine/volumes/change-port.ts';
import { NbdError, type Backend } from '../../../src/engine/volumes/nbd/export.ts';
import { ERRNO } from '../../../src/engine/volumes/nbd/protocol.ts';
import { ServedVolume } from '../../../src/engine/volumes/served-volume.ts';

const EXTENT = 64 * 1024;
const SIZE = 64 * EXTENT;
const REGION = 64 * EXTENT;

let folder: string;
let volume: ServedVolume;
let backend: Backend;

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'hf-port-'));
  const file = path.join(folder, 'v.img');
  writeFileSync(file, '');
  truncateSync(file, SIZE + REGION);
  volume = await ServedVolume.open({
    ...{ name: 'v', path: file, sizeBytes: SIZE + REGION, extentBytes: EXTENT, stateFolder: folder, preserveBytesMax: SIZE },
  });
  backend = await volume.asExport().open();
});
afterEach(async () => {
  await volume.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Replays what it was told into an image of its own. */
function listener(): ChangePort & { readonly image: Buffer; readonly kinds: string[]; flushes: number } {
  const image = Buffer.alloc(SIZE + REGION);
  const kinds: string[] = [];
  return {
    ...{ image, kinds, flushes: 0 },
    mayChange: () => null,
    make(change: Change, make: () => boolean) {
      if (!make()) return;
      kinds.push(change.kind);
      if (change.kind === 'zero') image.fill(0, change.offset, change.offset + change.length);
      else Buffer.concat(change.parts).copy(image, change.offset);
    },
    async flush() {
      this.flushes++;
    },
  };
}

describe('whoever is told of changes', () => {
  test('has the volume as it is, whatever waited for what', async () => {
    const told = listener();
    volume.tell(told);
    const answers: (void | Promise<void>)[] = [];
    const kind = fc.constantFrom('write', 'write', 'write', 'write', 'zero', 'trim', 'freeze');
    const step = fc.record({ kind, at: fc.nat(SIZE + REGION - 9000), length: fc.integer({ min: 1, max: 8999 }), fill: fc.nat(255) });
    const seed = Date.now() % 1_000_000;
    process.stderr.write(`seed ${seed}\n`);
    for (const [i, one] of fc.sample(step, { numRuns: 300, seed }).entries()) {
      const bytes = Buffer.alloc(one.length, one.fill);
      if (one.kind === 'zero') answers.push(backend.zero(one.at, one.length, { fua: false, mayPunch: one.fill > 127, fast: false }));
      else if (one.kind === 'trim') answers.push(backend.trim(one.at, one.length, false));
      else if (one.kind === 'write') answers.push(backend.write([bytes.subarray(0, 1), bytes.subarray(1)], one.at, false));
      else await (await volume.freeze(`s${i}`)).close();
    }
    await Promise.all(answers.map((answer) => Promise.resolve(answer)));
    expect(new Set(told.kinds)).toEqual(new Set(['write', 'zero']));
    expect(readFileSync(path.join(folder, 'v.img')).equals(told.image)).toBe(true);
  });

  test('makes durable what a flush or FUA asks for', async () => {
    const told = listener();
    volume.tell(told);
    await backend.flush();
    await backend.write([Buffer.from('x')], 0, true);
    expect(told.flushes).toBe(2);
    volume.tell(null);
    await backend.flush();
    expect(told.flushes).toBe(2);
  });

  test('keeps changes waiting, and refuses them before they reach the volume', async () => {
    const told = listener();
    let isOpen = false;
    let open = (): void => undefined;
    const wait = new Promise<void>((resolve) => (open = resolve));
    volume.tell({ ...told, mayChange: () => (isOpen ? null : wait) });
    const waiting = backend.write([Buffer.from('late')], 0, false);
    expect(volume.readsZero(0, EXTENT)).toBe(true);
    isOpen = true;
    open();
    await waiting;
    expect(told.image.subarray(0, 4).toString()).toBe('late');

    volume.tell({
      ...told,
      mayChange() {
        throw new NbdError(ERRNO.EPERM, 'somebody else owns it');
      },
    });
    await expect((async () => backend.write([Buffer.from('never')], EXTENT, false))()).rejects.toMatchObject({ errno: ERRNO.EPERM });
    expect(volume.readsZero(EXTENT, EXTENT)).toBe(true);
  });

  test('is not told of what it makes itself; that is tracked all the same', async () => {
    const told = listener();
    volume.tell(told);
    await volume.freeze('s');
    await volume.redo({ kind: 'write', offset: EXTENT, length: 3, parts: [Buffer.from('abc')] });
    await volume.redo({ kind: 'zero', offset: 3 * EXTENT, length: EXTENT });
    expect(told.kinds).toEqual([]);
    const now = await volume.freeze('t');
    const changed = now.changedSince('s');
    expect([...(changed?.runs() ?? [])]).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });
});
