/**
 * A served volume of 1 TiB, through workflows as a user starts them: the first capture, one with 1 GiB changed, an instant
 * restore to its first read, and what the disk server takes in memory; to bench/results/served.json.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { connectNbd, type NbdClient } from '../src/engine/volumes/nbd/client.ts';
import { parseNbdUri } from '../src/engine/volumes/nbd/uri.ts';
import { openInstallation, type Installation } from './installation.ts';
import { fio, versionOf, type Load } from './volumes-nbd-servers.ts';

const MIB = 1024 * 1024;
const TIB = 1024 ** 4;
const EXTENT = 256 * 1024;
const CHANGED = (1024 * MIB) / EXTENT;

async function connect(uri: string): Promise<NbdClient> {
  const parsed = parseNbdUri(uri);
  if (parsed === null) throw new Error(`${uri} is no disk`);
  return connectNbd({ at: parsed.at, export: parsed.export, tls: null }, { contexts: [] });
}

/** 1 GiB of noise, in extents all over the disk. */
async function writeAllOver(client: NbdClient): Promise<void> {
  const extents = new Set<number>();
  while (extents.size < CHANGED) extents.add(randomInt(TIB / EXTENT));
  for (const extent of extents) await client.write(randomBytes(EXTENT), extent * EXTENT);
  await client.flush();
}

const LOAD: Load = { name: '4 KiB randwrite, depth 16', rw: 'randwrite', blockBytes: 4096, depth: 16 };
const LOADED_BYTES = 1024 * MIB;
const LOAD_SECONDS = 10;
const LOAD_ROUNDS = 3;

/** What captures, back to back, take from somebody who writes at random to all of the disk; a share of the writer's operations. */
async function costOfCaptures(installation: Installation, folder: string, uri: string, flushEvery: number | null) {
  const more = flushEvery === null ? [] : [`--fsync=${flushEvery}`];
  const rounds: { readonly alone: number; readonly beside: number }[] = [];
  let captures = 0;
  for (let round = 0; round < LOAD_ROUNDS; round++) {
    const alone = await fio(uri, LOAD, LOAD_SECONDS, folder, more);
    let over = false;
    const writing = fio(uri, LOAD, LOAD_SECONDS, folder, more).finally(() => (over = true));
    for (; !over; captures++) await installation.run('captureSnapshot', { volume: 'loaded' }, true);
    rounds.push({ alone, beside: await writing });
  }
  const shares = rounds.map(({ alone, beside }) => 1 - beside / alone).toSorted((x, y) => x - y);
  return { captures, iopsAlone: Math.round(Math.max(...rounds.map(({ alone }) => alone))), cost: Number((shares[1] ?? NaN).toFixed(3)) };
}

/** Beside a writer that flushes as a database does, and beside one that never does: each capture's freeze then flushes for it. */
async function besideWriters(installation: Installation, folder: string) {
  const image = path.join(folder, 'loaded.img');
  const file = openSync(image, 'w');
  for (let at = 0; at < LOADED_BYTES; at += MIB) writeSync(file, randomBytes(MIB), 0, MIB, at);
  closeSync(file);
  await installation.addVolume('loaded', image, ['one']);
  const { result: disk } = await installation.run('attachVolume', { volume: 'loaded' });
  const [uri = ''] = disk.uris;
  await installation.run('captureSnapshot', { volume: 'loaded' });
  return {
    flushing: await costOfCaptures(installation, folder, uri, 32),
    neverFlushing: await costOfCaptures(installation, folder, uri, null),
  };
}

export async function runServedBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { folder: { type: 'string', default: '/tmp/hf-bench-served' } } });
  rmSync(values.folder, { recursive: true, force: true });
  mkdirSync(values.folder, { recursive: true });
  const image = path.join(values.folder, 'disk.img');
  const fd = openSync(image, 'w');
  ftruncateSync(fd, TIB);
  for (let i = 0; i < CHANGED; i++) writeSync(fd, randomBytes(EXTENT), 0, EXTENT, randomInt(TIB / EXTENT) * EXTENT);
  closeSync(fd);
  await using installation = await openInstallation(path.join(values.folder, 'installation'));
  const disks = await installation.startDisks();
  await installation.addStore('one');
  await installation.addVolume('disk', image, ['one']);
  const { result: attached } = await installation.run('attachVolume', { volume: 'disk' });
  const first = await installation.run('captureSnapshot', { volume: 'disk' });
  await using client = await connect(attached.uris[0] ?? '');
  await writeAllOver(client);
  const changed = await installation.run('captureSnapshot', { volume: 'disk' });
  const nothing = await installation.run('captureSnapshot', { volume: 'disk' });

  const begun = performance.now();
  const instant = await installation.served('hydrateDisk', {
    volume: 'disk',
    store: 'one',
    target: path.join(values.folder, 'instant.img'),
  });
  const servedSeconds = (performance.now() - begun) / 1000;
  await using restored = await connect(instant.uri);
  await restored.read(Buffer.alloc(4096), Math.floor(TIB / 3));
  const firstReadSeconds = (performance.now() - begun) / 1000;
  await instant.ended();
  const wholeSeconds = (performance.now() - begun) / 1000;
  const load = versionOf('fio') === null ? null : await besideWriters(installation, values.folder);
  const [cpu] = os.cpus();
  const rounded = (n: number): number => Number(n.toFixed(3));
  const results = {
    machine: { cpu: cpu?.model ?? 'unknown', cores: os.cpus().length, node: process.version },
    firstCapture: { seconds: rounded(first.seconds), readGib: rounded(first.result.readBytes / 1024 ** 3) },
    oneGibChanged: {
      seconds: rounded(changed.seconds),
      readGib: rounded(changed.result.readBytes / 1024 ** 3),
      changedExtents: changed.result.changedExtents,
    },
    nothingChanged: { seconds: rounded(nothing.seconds), readMib: rounded(nothing.result.readBytes / MIB) },
    instantRestore: {
      servedSeconds: rounded(servedSeconds),
      firstReadSeconds: rounded(firstReadSeconds),
      wholeSeconds: rounded(wholeSeconds),
    },
    capturesBesideWriter: load,
    peakMib: { node: installation.nodePeakMib(), disks: disks.peakMib() },
  };
  process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  writeFileSync(path.join(import.meta.dirname, 'results', 'served.json'), `${JSON.stringify(results, null, 2)}\n`);
  rmSync(values.folder, { recursive: true, force: true });
}
