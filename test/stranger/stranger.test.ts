/**
 * A stranger's reader: docs/format.md, a passphrase and a folder are enough to get a volume back, with no code of ours.
 *
 * The repository is written by ours, with a deletion and a rewrite in its history, so that stale locators are in it; the
 * reader (restore.py) shares nothing with it but the page.
 */
import { createHash, randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { lineageOf, newSnapshotId, volumeName, type SnapshotId } from '../../src/domain/ids.ts';
import { collect } from '../../src/engine/repository/collector.ts';
import { changePassphrase, ensureRepository } from '../../src/engine/repository/format.ts';
import { createMemoryTable } from '../../src/engine/repository/memory-table.ts';
import { fingerprintOf } from '../../src/engine/map/node.ts';
import { packNameOf } from '../../src/engine/repository/object-names.ts';
import { hideSnapshot } from '../../src/engine/repository/pins.ts';
import { openRepository, type Repository } from '../../src/engine/repository/repository.ts';
import type { Codec } from '../../src/ground/sealing/blob.ts';
import { createFileStore } from '../../src/ground/stores/file-store.ts';
import { listAll } from '../../src/ground/stores/object-store.ts';
import { within } from '../../src/ground/stores/within.ts';
import { flip } from '../flip.ts';
import { GOLDEN, GOLDEN_NAME, goldenNames, type Golden } from '../engine/repository/golden.ts';
import { describeWithPython, restorePy, type Outcome, type Python } from './python.ts';
import { shipImage, type Extents } from './ship-image.ts';

const { describe, python } = await describeWithPython();

const EXTENT = 16 * 1024;
const NAME = 'disk';
const PASSPHRASE = 'Schl\u00fcssel f\u00fcr das Tor';
/** Two subtrees and a part of an extent, so that all four levels of the map have something to say. */
const SIZE = 65_536 * EXTENT + 5 * EXTENT + 1000;
const LAST = 65_541;

/** Compressible or not, by its number. */
const contentOf = (seed: number): Buffer => {
  const block = createHash('sha512').update(`extent ${seed}`).digest();
  const bytes = Buffer.alloc(EXTENT, seed % 3 === 0 ? Buffer.concat([block, Buffer.alloc(960)]) : block);
  if (seed % 5 === 0) for (let at = 0; at < EXTENT; at += 64) createHash('sha512').update(`${seed} ${at}`).digest().copy(bytes, at);
  return bytes;
};
const tailOf = (seed: number): Buffer => contentOf(seed).fill(0, 1000);

interface Taken {
  readonly id: SnapshotId;
  readonly sizeBytes: number;
  readonly extents: Extents;
}

let folder: string;
let store: string;
let repository: Repository;
const taken: Taken[] = [];
let serial = 0;

const call = (command: readonly string[], { at = store, passphrase = PASSPHRASE, reader = python } = {}): Promise<Outcome> =>
  restorePy(reader, { store: at, repository: NAME, passphrase, command });

/** The same Python as if the optional package were not installed. */
function withoutBlake3(): Python {
  const hiding = path.join(folder, 'without-blake3');
  mkdirSync(hiding, { recursive: true });
  writeFileSync(path.join(hiding, 'blake3.py'), "raise ImportError('hidden')\n");
  return { ...python, env: { ...python.env, PYTHONPATH: [hiding, python.env['PYTHONPATH'] ?? ''].join(path.delimiter) } };
}

async function capture(volume: string, sizeBytes: number, extents: Extents, codec: Codec = 'zstd-1'): Promise<SnapshotId> {
  const id = newSnapshotId(1_700_000_000_000 + ++serial, () => randomBytes(1).readUInt8() / 256);
  const lineage = lineageOf(volumeName(volume), 1);
  const label = `number ${serial} \u2713`;
  await shipImage(repository, { lineage, snapshot: id, sizeBytes, extentBytes: EXTENT, extents, takenMs: serial * 1000, label, codec });
  taken.push({ id, sizeBytes, extents: new Map(extents) });
  return id;
}

/** Where a restored file differs from what was captured: extent numbers, none when it is right. */
async function differences(file: string, { sizeBytes, extents }: Taken): Promise<number[]> {
  expect(statSync(file).size).toBe(sizeBytes);
  const wrong: number[] = [];
  const chunk = Buffer.alloc(256 * EXTENT);
  const zeros = Buffer.alloc(chunk.length);
  const handle = await open(file);
  try {
    for (let first = 0; first * EXTENT < sizeBytes; first += 256) {
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, first * EXTENT);
      const named = [...extents.keys()].filter((extent) => extent >= first && extent < first + 256);
      if (named.length === 0 && chunk.subarray(0, bytesRead).equals(zeros.subarray(0, bytesRead))) continue;
      for (let i = 0; i * EXTENT < bytesRead; i++) {
        const found = chunk.subarray(i * EXTENT, Math.min((i + 1) * EXTENT, bytesRead));
        if (!found.equals((extents.get(first + i) ?? zeros).subarray(0, found.length))) wrong.push(first + i);
      }
    }
  } finally {
    await handle.close();
  }
  return wrong;
}

const objectsOf = async (at: string): Promise<string[]> => {
  const names: string[] = [];
  for await (const { name } of listAll(within(createFileStore({ root: at }), `repositories/${NAME}/`), '')) names.push(name);
  return names;
};
const pathIn = (at: string, name: string): string => path.join(at, 'repositories', NAME, name);

/** A copy of the store to do harm to. */
function harmed(harm: (at: string) => void): string {
  const at = path.join(folder, `harmed-${++serial}`);
  cpSync(store, at, { recursive: true });
  harm(at);
  return at;
}

describe('a stranger with the page and the passphrase', () => {
  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'holdfast-stranger-'));
    store = path.join(folder, 'store');
    const objects = within(createFileStore({ root: store, create: true, durability: 'os' }), `repositories/${NAME}/`);
    const options = { random: (size: number) => randomBytes(size), scryptN: 2 ** 12 };
    const unlocked = await ensureRepository(objects, NAME, 'the first passphrase', 0, options);
    // Typed elsewhere with combining marks: the same passphrase.
    await changePassphrase(objects, unlocked, PASSPHRASE.normalize('NFD'), options);
    const environment = {
      writer: 'test',
      nowMs: () => Date.now(),
      random: options.random,
      sleep: async () => undefined,
      alarm: (message: string) => expect(message).toBe(''),
    };
    repository = openRepository({ store: objects, key: unlocked.key, table: createMemoryTable(), environment });

    const content = new Map<number, Buffer>();
    for (let i = 0; i < 48; i++) content.set(i * 7, contentOf(i + 1));
    content.set(LAST, tailOf(100));
    const first = await capture('disk', SIZE, content);
    await capture('other', 20 * EXTENT, new Map([[0, contentOf(1)], [19, contentOf(200)]]), 'raw'); // prettier-ignore
    for (let i = 0; i < 20; i++) content.set(i * 7, contentOf(i + 300));
    content.delete(21 * 7);
    const second = await capture('disk', SIZE, content);
    for (let i = 24; i < 40; i++) content.set(i * 7, contentOf(i + 400));
    content.set(LAST, tailOf(101));
    await capture('disk', SIZE, content);
    await capture('disk', 30 * EXTENT - 1, new Map([...content].filter(([extent]) => extent < 29)));
    await capture('empty', 3 * EXTENT, new Map());
    for (const id of [first, second]) await hideSnapshot(repository, id, 0, false);
    const { reclaimed, packsRewritten } = await collect(repository, { owner: 'test', full: true });
    expect(reclaimed).toEqual([first, second]);
    expect(packsRewritten).toBeGreaterThan(0);
    await hideSnapshot(repository, taken[3]?.id ?? first, 0, false);
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const live = (): readonly Taken[] => taken.filter(({ id }) => repository.ledger().snapshots.has(id));

  test('lists what is live, and nothing that was reclaimed', async () => {
    const { status, stdout, stderr } = await call(['list']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const rows = stdout.trimEnd().split('\n').map((line) => line.split('\t')); // prettier-ignore
    expect(rows).toEqual(
      [...repository.ledger().snapshots.values()].map((s) => [
        s.id,
        s.lineage,
        new Date(s.takenMs).toISOString().replace('Z', '+00:00'),
        String(s.sizeBytes),
        s.consistency,
        s.hidden ? 'hidden' : 'available',
        s.label,
      ]),
    );
    expect(rows.map((row) => row[5])).toEqual(['available', 'hidden', 'available', 'available']);
  });

  test('gets every live snapshot back byte for byte, though locators are stale', async () => {
    let byDirectory = 0;
    for (const snapshot of live()) {
      const out = path.join(folder, `${snapshot.id}.img`);
      const { status, stderr } = await call(['restore', snapshot.id, out]);
      expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringMatching(/^values read: /) });
      expect(await differences(out, snapshot)).toEqual([]);
      byDirectory += Number(/, ([0-9]+) by directory/.exec(stderr)?.[1]);
      rmSync(out);
    }
    expect(byDirectory).toBeGreaterThan(0);
  }, 120_000);

  test.each(goldenNames())('gets back what an earlier version wrote: %s', async (version) => {
    const golden = JSON.parse(readFileSync(path.join(GOLDEN, `${version}.json`), 'utf8')) as Golden;
    const options = { store: path.join(GOLDEN, version), repository: GOLDEN_NAME, passphrase: golden.passphrase };
    const listed = await restorePy(python, { ...options, command: ['list'] });
    expect(listed.stdout.match(/^\w+/gm)).toEqual(Object.keys(golden.images));
    for (const [id, { sha256 }] of Object.entries(golden.images)) {
      const out = path.join(folder, `${id}.img`);
      expect(await restorePy(python, { ...options, command: ['restore', id, out] })).toMatchObject({ status: 0 });
      expect(createHash('sha256').update(readFileSync(out)).digest('hex')).toBe(sha256);
    }
  });

  test('a reclaimed snapshot is not found, and a file that is there is not overwritten', async () => {
    const gone = taken[0]?.id ?? '';
    expect(await call(['restore', gone, path.join(folder, 'x')])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('not a live snapshot'),
    });
    const there = path.join(folder, 'there');
    writeFileSync(there, 'kept');
    expect(await call(['restore', live()[0]?.id ?? '', there])).toMatchObject({ status: 1, stderr: expect.stringContaining('exists') });
    expect(readFileSync(there, 'utf8')).toBe('kept');
  });

  test.each(['wrong', 'the first passphrase'])('the passphrase %p opens nothing', async (passphrase) => {
    const { status, stdout, stderr } = await call(['list'], { passphrase });
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toBe('refused: wrong passphrase: it does not open this repository\n');
  });

  test('a flipped bit in an extent is refused by the number of the extent, and leaves no file', async () => {
    const victim = live()[1];
    const [extent, bytes] = [...(victim?.extents ?? [])].at(-1) ?? [0, Buffer.alloc(0)];
    const location = repository.locate(fingerprintOf(bytes));
    const at = harmed((copy) => {
      if (location) flip(pathIn(copy, packNameOf(location.pack)), location.offset + (location.length >> 1));
    });
    const out = path.join(folder, 'damaged.img');
    for (const reader of [python, withoutBlake3()]) {
      const { status, stderr } = await call(['restore', victim?.id ?? '', out], { at, reader });
      expect(status).toBe(1);
      expect(stderr).toContain(`refused: extent ${extent} cannot be had: a value at ${location?.offset} of a/`);
      expect(existsSync(out) || existsSync(`${out}.partial`)).toBe(false);
    }
  });

  test('without the BLAKE3 package the tags are the check, and it says so', async () => {
    const snapshot = live()[1];
    const out = path.join(folder, 'tags.img');
    const { status, stderr } = await call(['restore', snapshot?.id ?? '', out], { reader: withoutBlake3() });
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringContaining('no blake3 package') });
    if (snapshot) expect(await differences(out, snapshot)).toEqual([]);
  });

  test('needs no change parts and no checkpoints', async () => {
    const names = await objectsOf(store);
    const at = harmed((copy) => {
      for (const name of names) if (/^checkpoint|-c[0-9a-f]{4}$/.test(name)) rmSync(pathIn(copy, name));
    });
    expect((await objectsOf(at)).length).toBeLessThan(names.length);
    for (const snapshot of live()) {
      const out = path.join(folder, 'log-alone.img');
      expect(await call(['restore', snapshot.id, out], { at })).toMatchObject({ status: 0 });
      expect(await differences(out, snapshot)).toEqual([]);
      rmSync(out);
    }
  });

  test('one flipped bit, a cut or a removal anywhere: refused, or the right bytes all the same, never wrong ones', async () => {
    const victim = live().find(({ sizeBytes }) => sizeBytes < SIZE) ?? live()[0];
    if (victim === undefined) throw new Error('no snapshot is live');
    const names = await objectsOf(store);
    const kinds = new Map(names.map((name) => [name.replace(/^(.).*-([pc])[0-9a-f]{4}$/, '$1-$2').split('/')[0], name]));
    let refused = 0;
    let harms = 0;
    for (const name of [...kinds.values(), ...names.filter((n) => n.includes('-p')).slice(0, 4)]) {
      const size = statSync(pathIn(store, name)).size;
      const position = createHash('sha256').update(name).digest().readUInt32BE() % size;
      for (const harm of ['flip', 'cut', 'remove'] as const) {
        const at = harmed((copy) => {
          const file = pathIn(copy, name);
          if (harm === 'flip') flip(file, position, position % 8);
          else if (harm === 'cut') truncateSync(file, size >> 1);
          else rmSync(file);
        });
        const out = path.join(folder, 'harmed.img');
        const { status, stderr } = await call(['restore', victim.id, out], { at });
        harms++;
        if (status === 0) expect(await differences(out, victim)).toEqual([]);
        else {
          refused++;
          expect({ name, harm, stderr }).toEqual({ name, harm, stderr: expect.stringMatching(/^(passed over: .*\n)*refused: .+\n$/) });
          expect(existsSync(out)).toBe(false);
        }
        rmSync(out, { force: true });
        rmSync(at, { recursive: true });
      }
    }
    expect(refused).toBeGreaterThan(harms / 4);
  }, 120_000);
});
