/** The log of a replica after its disk was torn: the longest whole beginning comes back, never anything else, and it goes on from there. */
import { describe, expect, test } from '@jest/globals';
import { blake3 } from '@napi-rs/blake-hash';
import fc from 'fast-check';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, open, readdir, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ReplicaLog, type LogOptions } from '../../../../src/systems/regions/replica/log.ts';
import type { KeptEntry } from '../../../../src/systems/regions/replica/log-reading.ts';
import { flip } from '../../../flip.ts';

const REPLICA = randomBytes(16);

async function openLog(
  folder: string,
  changes: Partial<LogOptions> = {},
): Promise<{ log: ReplicaLog; entries: readonly KeptEntry[]; durable: KeptEntry[] }> {
  const durable: KeptEntry[] = [];
  const options = {
    folder,
    replica: REPLICA,
    moved: 0,
    random: randomBytes,
    segmentBytes: 1 << 20,
    onDurable: (one: KeptEntry) => void durable.push(one),
  };
  return { ...(await ReplicaLog.open({ ...options, ...changes })), durable };
}

const append = (log: ReplicaLog, name: string, body: Buffer): Promise<void> =>
  log.append({ kind: 'create', names: [name], after: 0, sizeBytes: body.length, digest: blake3(body) }, body);

describe('a torn log', () => {
  test('gives back what was whole, whatever is cut off or flipped behind it', async () => {
    const root = await mkdtemp(join(tmpdir(), 'holdfast-replica-log-'));
    const folder = join(root, 'log');
    const bodies = Array.from({ length: 12 }, (_, i) => randomBytes(i * 37));
    {
      const { log } = await openLog(folder);
      await Promise.all(bodies.map((body, i) => append(log, `a/${i}`, body)));
      await log[Symbol.asyncDispose]();
    }
    const [name = ''] = await readdir(folder);
    const { size } = await stat(join(folder, name));
    const { entries: whole } = await openLog(folder);
    expect(whole.map(({ number }) => number)).toEqual(bodies.map((_, i) => i + 1));
    let runs = 0;
    const damage = fc.record({ at: fc.integer({ min: 80, max: size - 1 }), kind: fc.constantFrom('cut', 'flip', 'zeros') });
    await fc.assert(
      fc.asyncProperty(damage, async ({ at, kind }) => {
        const torn = join(root, `torn-${runs++}`);
        await mkdir(torn);
        const path = join(torn, name);
        await copyFile(join(folder, name), path);
        if (kind === 'cut') await truncate(path, at);
        else {
          await using file = await open(path, 'r+');
          const bytes = Buffer.alloc(kind === 'flip' ? 1 : size - at);
          if (kind === 'flip') await file.read(bytes, 0, 1, at);
          if (kind === 'flip') bytes.writeUInt8(bytes.readUInt8(0) ^ 8, 0);
          await file.write(bytes, 0, bytes.length, at);
        }
        const sound = whole.filter(({ bodyAt, sizeBytes }) => bodyAt + sizeBytes <= at).length;
        const { log, entries } = await openLog(torn);
        // An entry of which nothing but zeros was lost can be whole all the same.
        expect(entries.length).toBeGreaterThanOrEqual(sound);
        expect(entries.length).toBeLessThan(kind === 'zeros' ? bodies.length + 1 : bodies.length);
        for (const [i, entry] of entries.entries()) expect((await log.body(entry)).equals(bodies[i] ?? Buffer.alloc(1))).toBe(true);
        await append(log, 'next', Buffer.from('next'));
        await log[Symbol.asyncDispose]();
        const again = await openLog(torn);
        expect(again.entries.map(({ names }) => names[0])).toEqual([...entries.map(({ names }) => names[0]), 'next']);
        expect(again.log.durable).toBe(entries.length + 1);
        await again.log[Symbol.asyncDispose]();
      }),
      { numRuns: 60 },
    );
    await rm(root, { recursive: true });
  }, 120_000);

  test('is told from a damaged one by what came after: an entry behind it that was asked for when this one was durable', async () => {
    const root = await mkdtemp(join(tmpdir(), 'holdfast-replica-log-'));
    const folder = join(root, 'log');
    {
      const { log } = await openLog(folder);
      for (let i = 0; i < 6; i++) {
        const body = randomBytes(300);
        await log.append({ kind: 'put', names: [`a/${i}`], after: log.durable, sizeBytes: body.length, digest: blake3(body) }, body);
      }
      await log[Symbol.asyncDispose]();
    }
    const [name = ''] = await readdir(folder);
    const path = join(folder, name);
    const { entries } = await openLog(folder);
    const third = entries[2]?.bodyAt ?? 0;
    for (const at of [third + 7, third - 2, third - 60, third - 107]) {
      flip(path, at);
      await expect(openLog(folder)).rejects.toMatchObject({ code: 'DAMAGED' });
      flip(path, at);
    }
    // Of the last one nobody knows.
    flip(path, (entries[5]?.bodyAt ?? 0) + 7);
    expect((await openLog(folder)).entries.length).toBe(5);
    await rm(root, { recursive: true });
  });

  test('with a segment missing, of another replica, or with a hole is DAMAGED; what is moved may be missing', async () => {
    const root = await mkdtemp(join(tmpdir(), 'holdfast-replica-log-'));
    const folder = join(root, 'log');
    {
      const { log } = await openLog(folder, { segmentBytes: 500 });
      for (let i = 0; i < 8; i++) await append(log, `a/${i}`, randomBytes(400));
      await log[Symbol.asyncDispose]();
    }
    const names = (await readdir(folder)).sort();
    expect(names.length).toBe(8);
    await expect(openLog(folder, { replica: randomBytes(16) })).rejects.toMatchObject({ code: 'DAMAGED' });
    await rm(join(folder, names[0] ?? ''));
    await expect(openLog(folder)).rejects.toMatchObject({ code: 'DAMAGED' });
    const { entries } = await openLog(folder, { moved: 1 });
    expect(entries.map(({ number }) => number)).toEqual([2, 3, 4, 5, 6, 7, 8]);
    await truncate(join(folder, names[4] ?? ''), 300);
    await expect(openLog(folder, { moved: 1 })).rejects.toMatchObject({ code: 'DAMAGED' });
    await rm(root, { recursive: true });
  });
});

test('what comes while one is written is one write with the next, and is told in its order', async () => {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-replica-log-'));
  const { createSegment } = await import('../../../../src/systems/regions/replica/log.ts');
  let writes = 0;
  const { log, durable } = await openLog(join(root, 'log'), {
    async createFile(path) {
      const file = await createSegment(path);
      return { ...file, write: (buffers, at) => (writes++, file.write(buffers, at)) };
    },
  });
  await Promise.all(Array.from({ length: 100 }, (_, i) => append(log, `a/${i}`, randomBytes(10))));
  expect(durable.map(({ number }) => number)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  // The header, and the groups.
  expect(writes).toBeLessThan(10);
  await log[Symbol.asyncDispose]();
  await expect(append(log, 'late', randomBytes(1))).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  await rm(root, { recursive: true });
});
