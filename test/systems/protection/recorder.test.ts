/** Changes become records: cut to a record's bound, copied, refused, or taken down as they are when they fail half-way. */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { HoldfastError } from '../../../src/domain/errors.ts';
import { JOURNAL_WRITE_BYTES_MAX, UNANSWERED_BYTES_MAX } from '../../../src/domain/limits.ts';
import type { JournalOp, Owner } from '../../../src/engine/journal/owning/owner.ts';
import { NbdError, type Backend } from '../../../src/engine/volumes/nbd/export.ts';
import { ERRNO } from '../../../src/engine/volumes/nbd/protocol.ts';
import { fileGround } from '../../../src/engine/volumes/live-file.ts';
import { ServedVolume } from '../../../src/engine/volumes/served-volume.ts';
import { Places } from '../../../src/systems/protection/places.ts';
import { Recorder } from '../../../src/systems/protection/recorder.ts';

const EXTENT = 64 * 1024;
const SIZE = 48 * 1024 * 1024;

/** An owner that has room when it is told, and keeps what it was given. */
function fakeOwner() {
  const ops: JournalOp[] = [];
  const owner = {
    ops,
    room: Promise.resolve(),
    get next() {
      return ops.length + 1;
    },
    async append(given: readonly JournalOp[]) {
      ops.push(...given);
      await owner.room;
      return ops.length;
    },
    async flush() {
      ops.push({ kind: 'flush' });
      return ops.length;
    },
  };
  return owner;
}

/** A class with private fields is matched by nothing else; here it is what a recorder asks of one. */
const ownerOf = (fake: Pick<Owner, 'next' | 'append' | 'flush'>): Owner => fake as Owner;

let folder: { readonly path: string };
let volume: ServedVolume;
let backend: Backend;
let owner: ReturnType<typeof fakeOwner>;
let recorder: Recorder;
let places: Places;
/** What the volume's file does instead of the write that comes. */
let failing: ((parts: readonly Buffer[]) => readonly Buffer[]) | null;
const trouble: unknown[] = [];

const image = (): Buffer => readFileSync(path.join(folder.path, 'v.img'));

beforeEach(async () => {
  folder = { path: mkdtempSync(path.join(tmpdir(), 'hf-recorder-')) };
  const file = path.join(folder.path, 'v.img');
  writeFileSync(file, '');
  truncateSync(file, SIZE);
  const place = { name: 'v', path: file, sizeBytes: SIZE, stateFolder: folder.path };
  const ground = fileGround(place);
  failing = null;
  volume = await ServedVolume.open(
    { ...place, extentBytes: EXTENT, preserveBytesMax: SIZE },
    {
      ...ground,
      async openVolume() {
        const opened = await ground.openVolume();
        const write = opened.write.bind(opened);
        return Object.assign(opened, {
          write(parts: readonly Buffer[], offset: number) {
            write(failing === null ? parts : failing(parts), offset);
            if (failing !== null) throw Object.assign(new Error('the disk is full'), { code: 'ENOSPC' });
          },
        });
      },
    },
  );
  backend = await volume.asExport().open();
  owner = fakeOwner();
  places = Places.open(path.join(folder.path, 'places'));
  trouble.length = 0;
  const note = (error: unknown): void => void trouble.push(error);
  recorder = new Recorder({ places, volumes: [volume], nowMs: () => performance.now(), onRefused: note, onUnclear: note });
  volume.tell(recorder.portOf(0));
  recorder.record(ownerOf(owner));
});
afterEach(async () => {
  await volume.stop();
  places[Symbol.dispose]();
  rmSync(folder.path, { recursive: true, force: true });
});

const bytesOf = (op: JournalOp | undefined): Buffer => (op?.kind === 'write' ? Buffer.from(op.data) : Buffer.alloc(0));

test('a large write is several records, which hold copies of what was written', async () => {
  const parts = [Buffer.alloc(JOURNAL_WRITE_BYTES_MAX - 5, 1), Buffer.alloc(JOURNAL_WRITE_BYTES_MAX, 2), Buffer.alloc(17, 3)];
  const written = Buffer.concat(parts);
  await backend.write(parts, 100, false);
  for (const part of parts) part.fill(9);
  expect(owner.ops.map((op) => (op.kind === 'write' ? [op.offset, op.data.length] : []))).toEqual([
    [100, JOURNAL_WRITE_BYTES_MAX],
    [100 + JOURNAL_WRITE_BYTES_MAX, JOURNAL_WRITE_BYTES_MAX],
    [100 + 2 * JOURNAL_WRITE_BYTES_MAX, 12],
  ]);
  expect(Buffer.concat(owner.ops.map(bytesOf)).equals(written)).toBe(true);
  expect(places.above(0)).toEqual([{ volume: 0, offset: 100, length: written.length }]);
});

test('a write that fails half-way is taken down as what the range holds then', async () => {
  await backend.write([Buffer.alloc(4096, 1)], 0, false);
  failing = (parts) => [Buffer.concat([...parts]).subarray(0, 1000)];
  await expect((async () => backend.write([Buffer.alloc(4096, 2)], 0, false))()).rejects.toMatchObject({ code: 'ENOSPC' });
  failing = null;
  expect(bytesOf(owner.ops.at(-1)).equals(image().subarray(0, 4096))).toBe(true);
  expect(bytesOf(owner.ops.at(-1)).subarray(998, 1002)).toEqual(Buffer.from([2, 2, 1, 1]));
  expect(trouble).toEqual([]);
});

test('zeros that cannot be made fast change nothing, and are no record', async () => {
  await expect((async () => backend.zero(0, EXTENT, { fua: false, mayPunch: false, fast: true }))()).rejects.toMatchObject({
    errno: ERRNO.ENOTSUP,
  });
  expect(owner.ops).toEqual([]);
  await backend.zero(0, 20 * 1024 * 1024, { fua: false, mayPunch: true, fast: false });
  expect(owner.ops.every(({ kind }) => kind === 'zero')).toBe(true);
});

test('flushes with nothing between them are one point', async () => {
  await backend.write([Buffer.from('x')], 0, false);
  await Promise.all([backend.flush(), backend.flush()]);
  await backend.flush();
  expect(owner.ops.map(({ kind }) => kind)).toEqual(['write', 'flush']);
});

test('a point that is a flush which is under way already keeps its number, whatever comes meanwhile', async () => {
  await backend.write([Buffer.from('x')], 0, false);
  const flush = Promise.withResolvers<number>();
  owner.flush = () => {
    owner.ops.push({ kind: 'flush' });
    return flush.promise;
  };
  const flushed = Promise.resolve(backend.flush());
  const point = recorder.point(ownerOf(owner));
  await backend.write([Buffer.from('y')], 0, false);
  flush.resolve(2);
  await Promise.all([flushed, point.done]);
  expect(owner.ops.map(({ kind }) => kind)).toEqual(['write', 'flush', 'write']);
  expect(point.seq).toBe(2);
});

test('without room changes wait before they are made, and pass without a record when order is given up', async () => {
  let makeRoom = (): void => undefined;
  owner.room = new Promise((resolve) => (makeRoom = resolve));
  const step = Buffer.alloc(1024 * 1024, 5);
  for (let at = 0; at <= UNANSWERED_BYTES_MAX; at += step.length) await backend.write([step], at, false);
  const recorded = owner.ops.length;
  const waiting = Promise.resolve(backend.write([Buffer.from('waits')], 40 * 1024 * 1024, false));
  await sleep(20);
  expect(recorder.fullMs).toBeGreaterThan(0);
  expect(volume.readsZero(40 * 1024 * 1024, 4096)).toBe(true);
  recorder.wait();
  recorder.lose();
  await waiting;
  expect(
    image()
      .subarray(40 * 1024 * 1024, 40 * 1024 * 1024 + 5)
      .toString(),
  ).toBe('waits');
  expect(owner.ops).toHaveLength(recorded);
  makeRoom();
});

test('what is refused does not reach the volume, and a refused record is told of', async () => {
  recorder.refuse(new NbdError(ERRNO.EPERM, 'not yours'));
  await expect((async () => backend.write([Buffer.from('never')], 0, false))()).rejects.toMatchObject({ errno: ERRNO.EPERM });
  await expect((async () => backend.flush())()).rejects.toMatchObject({ errno: ERRNO.EPERM });
  expect(volume.readsZero(0, EXTENT)).toBe(true);
  owner.room = Promise.reject(new HoldfastError('JOURNAL_FENCED', 'somebody else'));
  recorder.record(ownerOf(owner));
  await backend.write([Buffer.from('x')], 0, false);
  await sleep(5);
  expect(trouble).toEqual([expect.objectContaining({ code: 'JOURNAL_FENCED' })]);
});
