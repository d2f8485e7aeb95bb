/** Views read beside their server: what they give is the volume of the freeze, whatever is written meanwhile, or an error. */
import { randomBytes, randomInt } from 'node:crypto';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { NbdError, type Export } from '../../../src/engine/volumes/nbd/export.ts';
import { ERRNO } from '../../../src/engine/volumes/nbd/protocol.ts';
import { serveNbd, type NbdServer } from '../../../src/engine/volumes/nbd/server.ts';
import { connectNbd, type NbdClient } from '../../../src/engine/volumes/nbd/client.ts';
import { ServedVolume, type Freeze } from '../../../src/engine/volumes/served-volume.ts';
import { identityOf, ViewBeside } from '../../../src/engine/volumes/view-beside.ts';

const KIB = 1024;
const SIZE = 4 * KIB * KIB;

let folder: string;
let file: string;
let volume: ServedVolume;
let server: NbdServer;

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'hf-beside-'));
  file = path.join(folder, 'disk.img');
  // Half of it data, half of it a hole.
  writeFileSync(file, Buffer.concat([randomBytes(SIZE / 2), Buffer.alloc(SIZE / 2)]));
  volume = await ServedVolume.open({
    ...{ name: 'disk', path: file, sizeBytes: SIZE, extentBytes: 64 * KIB },
    ...{ stateFolder: path.join(folder, 'state'), preserveBytesMax: SIZE },
  });
  server = await serveNbd({ path: path.join(folder, 'socket') }, { exports: () => volume.exports() });
});

afterEach(async () => {
  await server.close(100);
  await volume.stop();
  rmSync(folder, { recursive: true, force: true });
});

const at = () => ({ path: path.join(folder, 'socket') });
const client = (): Promise<NbdClient> => connectNbd({ at: at(), export: 'disk', tls: null }, { contexts: [] });

async function beside(freeze: Freeze, snapshot: string): Promise<ViewBeside> {
  const files = await freeze.files();
  const opened = files && (await ViewBeside.open({ at: at(), export: `disk@${snapshot}`, tls: null }, files));
  if (opened === null) throw new Error('a view of this host is read beside its server');
  return opened;
}

async function readAll(view: ViewBeside, pieceBytes: number): Promise<Buffer> {
  const all = Buffer.alloc(SIZE);
  for (let offset = 0; offset < SIZE; offset += pieceBytes) await view.read(all.subarray(offset, offset + pieceBytes), offset);
  return all;
}

/** Writes, zeros and trims all over, until it is told to end. */
async function disturb(isOver: () => boolean): Promise<number> {
  await using writer = await client();
  let changes = 0;
  for (; !isOver(); changes++) {
    const offset = randomInt(SIZE / 512 - 64) * 512;
    const length = (1 + randomInt(64)) * 512;
    await writer.write(changes % 3 === 0 ? Buffer.alloc(length) : randomBytes(length), offset);
  }
  return changes;
}

test('a view is the volume of its freeze, however it is written to while it is read; the next one in the same copies, too', async () => {
  const copies = new Set<string | undefined>();
  for (const snapshot of ['s1', 's2', 's3', 's4']) {
    const was = readFileSync(file);
    const freeze = await volume.freeze(snapshot);
    copies.add((await freeze.files())?.copies);
    await using view = await beside(freeze, snapshot);
    let over = false;
    const changing = disturb(() => over);
    for (const pieceBytes of [64 * KIB, 4 * KIB, 1024 * KIB, 12 * KIB + 512])
      expect([snapshot, pieceBytes, (await readAll(view, pieceBytes)).equals(was)]).toEqual([snapshot, pieceBytes, true]);
    over = true;
    expect(await changing).toBeGreaterThan(0);
    expect(freeze.figures().preservedBytes).toBeGreaterThan(0);
    expect(readFileSync(file).equals(was)).toBe(false);
    await freeze.close();
  }
  expect(copies.size).toBe(1);
});

test('a view that was closed gives nothing, though its files are there', async () => {
  const freeze = await volume.freeze('s1');
  await using view = await beside(freeze, 's1');
  await view.read(Buffer.alloc(4096), 0);
  await freeze.close();
  await expect(view.read(Buffer.alloc(4096), 0)).rejects.toThrow('closed');
});

test('what was read of the copies counts only when the view still stands behind that', async () => {
  const copies = path.join(folder, 'copies');
  const content = randomBytes(SIZE);
  writeFileSync(copies, content);
  // A server whose view falls after so many questions: the first is of what was kept, the second whether that holds.
  let questions = 0;
  let answered = Infinity;
  const falling: Export = {
    ...(await volume.freeze('s1')).export,
    name: 'falling',
    contexts: () => [
      {
        name: 'holdfast:kept',
        *status(_, length) {
          if (questions++ >= answered) throw new NbdError(ERRNO.ESHUTDOWN, 'the frozen view was closed');
          yield { length, flags: 1 };
        },
      },
    ],
  };
  await using other = await serveNbd({ path: path.join(folder, 'other') }, { exports: () => [falling] });
  if (!('path' in other.address)) throw new Error('it listens on a Unix socket');
  const files = { volume: file, identity: await identityOf(file), copies };
  await using view = await ViewBeside.open({ at: other.address, export: 'falling', tls: null }, files);
  const into = Buffer.alloc(64 * KIB);
  await view?.read(into, 4096);
  expect([questions, into.equals(content.subarray(4096, 4096 + into.length))]).toEqual([2, true]);
  answered = questions + 1;
  await expect(view?.read(into, 4096)).rejects.toThrow('closed');
});

test('closed while it is read, and its copies used by the next view: an error, or what it was', async () => {
  await using writer = await client();
  const said = new Set<string>();
  for (let turns = 0; turns < 24; turns++) {
    const was = readFileSync(file).subarray(0, 1024 * KIB);
    const freeze = await volume.freeze(`s${turns}`);
    await writer.write(randomBytes(512 * KIB), 0);
    await using view = await beside(freeze, `s${turns}`);
    const into = Buffer.alloc(1024 * KIB);
    const outcome = view.read(into, 0).then(
      () => (into.equals(was) ? 'as it was' : 'something else'),
      (error: unknown) => (String(error).includes('closed') ? 'closed' : String(error)),
    );
    for (let turn = turns; turn > 0; turn--) await new Promise((resolve) => setImmediate(resolve));
    await freeze.close();
    const next = await volume.freeze(`t${turns}`);
    await writer.write(randomBytes(512 * KIB), 0);
    said.add(await outcome);
    await next.close();
  }
  expect([...said].filter((one) => one !== 'as it was' && one !== 'closed')).toEqual([]);
  expect(said).toContain('closed');
});

test('zeros are kept as zeros where an earlier view has kept something else', async () => {
  const backend = await volume.asExport().open();
  const first = await volume.freeze('s1');
  await backend.write([randomBytes(256 * KIB)], 0, false);
  await first.close();
  await backend.trim(0, 128 * KIB, false);
  const was = readFileSync(file);
  const second = await volume.freeze('s2');
  await backend.write([randomBytes(256 * KIB)], 0, false);
  await using view = await beside(second, 's2');
  expect((await readAll(view, 64 * KIB)).equals(was)).toBe(true);
  await second.close();
});

test('another file under the path of the volume, or none, is not read', async () => {
  const freeze = await volume.freeze('s1');
  const files = await freeze.files();
  if (files === null) throw new Error('it has files');
  const of = { at: at(), export: 'disk@s1', tls: null };
  copyFileSync(file, path.join(folder, 'copy'));
  expect(await ViewBeside.open(of, { ...files, volume: path.join(folder, 'copy') })).toBeNull();
  expect(await ViewBeside.open(of, { ...files, copies: path.join(folder, 'none') })).toBeNull();
  // The volume itself is no view: it tells nothing of copies.
  expect(await ViewBeside.open({ ...of, export: 'disk' }, files)).toBeNull();
  renameSync(path.join(folder, 'copy'), file);
  expect(await ViewBeside.open(of, files)).toBeNull();
  await freeze.close();
});

test('copies are gone when their volume is served no more', async () => {
  const copies = (): readonly string[] => readdirSync(path.join(folder, 'state')).filter((name) => name.endsWith('.copies'));
  const freezes = [await volume.freeze('s1'), await volume.freeze('s2')];
  expect(copies()).toHaveLength(2);
  for (const freeze of freezes) await freeze.close();
  // One waits for the next view.
  expect(copies()).toHaveLength(1);
  await volume.stop();
  expect(copies()).toHaveLength(0);
});
