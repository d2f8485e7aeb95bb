/**
 * The volume as a disk: captured while somebody writes to it without a pause; the snapshot served straight from its store, and
 * mounted where the machine lets us; then restored as a disk that can be used at once, and stands alone in the end.
 */
import { mkdir, open, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { NbdClient } from '../../../engine/volumes/nbd/client.ts';
import { formatBytes } from '../../cli/quantities.ts';
import { BLOCK_BYTES, lastWriteIn, startCounting } from '../counting-writer.ts';
import { capture, EXTENT_BYTES, imageOf, type DemoContext } from '../demo-context.ts';
import { digestOfFile } from '../disk-image.ts';
import { VOLUME } from '../installation.ts';
import { attachVolume, choosePlaces, connect, detachVolume, requireSound } from '../served-disk.ts';
import { requireThat, type Figures, type Step } from '../step.ts';
import { requireAllCommitted } from './protect.ts';

/** Of writing before the capture is asked for. */
const WARM_MS = 500;
const COPY_BYTES = 4 * 1024 * 1024;

const exported = z.looseObject({ uri: z.string() });
const instant = z.looseObject({ job: z.string(), status: z.looseObject({ uris: z.array(z.string()).min(1) }) });

async function copyOut(client: NbdClient, file: string): Promise<void> {
  await using target = await open(file, 'w', 0o600);
  const buffer = Buffer.alloc(COPY_BYTES);
  for (let at = 0; at < client.sizeBytes; at += COPY_BYTES) {
    const bytes = buffer.subarray(0, Math.min(COPY_BYTES, client.sizeBytes - at));
    await client.read(bytes, at);
    await target.writev([bytes], at);
  }
}

interface Mounted {
  readonly entries: number | null;
  readonly line: string;
}

/** By nbdfuse and the kernel's ext4, read-only: what anyone would do with it. */
async function mount(context: DemoContext, uri: string): Promise<Mounted> {
  const { folder, programs } = context;
  if (!imageOf(context).checked || process.getuid?.() !== 0 || (await programs.find('nbdfuse')) === null)
    return { entries: null, line: 'not mounted here: that takes root, nbdfuse and an ext4 volume' };
  const [fuse, files] = [folder.inside('fuse'), folder.inside('files')];
  for (const one of [fuse, files]) await mkdir(one);
  const disk = path.join(fuse, 'disk');
  const serving = programs.run('nbdfuse', [disk, uri]);
  try {
    for (let waited = 0; (await readdir(fuse)).length === 0 && waited < 5000; waited += 50) await sleep(50);
    const ran = await programs.run('mount', ['-o', 'loop,ro,noload', disk, files]);
    if (ran.status !== 0) return { entries: null, line: `not mounted here: ${ran.stderr.trim()}` };
    const entries = (await readdir(files, { recursive: true })).length;
    await programs.run('umount', [files]);
    programs.remember(ran, `${entries} files and folders, straight from the store`);
    return { entries, line: `mounted with nbdfuse: ${entries} files and folders` };
  } finally {
    await programs.run('umount', [fuse]);
    await serving;
  }
}

/** A snapshot as a disk, from the store alone: held against the writer's count, mounted, copied, judged by e2fsck. */
async function look(context: DemoContext, snapshot: string, places: readonly number[], copy: string) {
  const { programs, installation, note } = context;
  note('holdfast snapshot export');
  const serving = await programs.holdfastServing(exported, ['snapshot', 'export', snapshot], installation.variables);
  try {
    await using disk = await connect(serving.answer.uri);
    const last = await lastWriteIn(disk, places);
    await copyOut(disk, copy);
    const mounted = await mount(context, serving.answer.uri);
    return { last, mounted };
  } finally {
    await serving.end();
  }
}

/** The snapshot as a disk that is used at once: read, written, and held against the copy once it stands alone. */
async function restoreInstantly(context: DemoContext, snapshot: string, place: number, copy: string): Promise<Figures> {
  const { folder, programs, installation, note } = context;
  const target = path.join(folder.restored, 'instant.img');
  note('holdfast restore --instant');
  const begunMs = performance.now();
  const args = ['restore', VOLUME, target, '--instant', '--snapshot', snapshot, '--disk', 'instant'];
  const { job, status } = await programs.holdfastJson(instant, args, installation.variables);
  const usableMs = performance.now() - begunMs;
  const written = Buffer.alloc(BLOCK_BYTES, 'written while it comes');
  const { readMs } = await (async () => {
    await using disk = await connect(status.uris[0]);
    const askedMs = performance.now();
    await disk.read(Buffer.alloc(BLOCK_BYTES), 0);
    const answeredMs = performance.now();
    await disk.write(written, place);
    await disk.flush();
    return { readMs: answeredMs - askedMs };
  })();
  await programs.holdfastJson(z.unknown(), ['job', 'wait', job], installation.variables);
  const wholeMs = performance.now() - begunMs;
  await programs.holdfastJson(
    z.unknown(),
    ['volume', 'detach', 'instant', '--host', installation.settings['HOLDFAST_HOST'] ?? ''],
    installation.variables,
  );
  {
    await using expected = await open(copy, 'r+');
    await expected.writev([written], place);
  }
  const [was, is] = [await digestOfFile(copy), await digestOfFile(target)];
  requireThat(was === is, `BLAKE3 of the restored disk is ${is} and not ${was}`);
  await rm(target);
  return { usableMs, firstReadMs: readMs, wholeMs };
}

export const serve: Step<DemoContext> = {
  name: 'serve',
  title: 'served as a disk: captured while it is written, exported, mounted, restored at once',
  async run(context) {
    const { folder, note } = context;
    const copy = path.join(folder.restored, 'exported.img');
    const uri = await attachVolume(context);
    const places = choosePlaces(context);
    // What the server has seen from the beginning it need not look for.
    requireAllCommitted(await capture(context, 'served'));
    note('writing; capturing meanwhile');
    const client = await connect(uri);
    const counting = startCounting(client, places);
    await sleep(WARM_MS);
    const before = counting.written;
    const result = await capture(context, 'under load');
    const load = await counting.stop();
    await client.flush();
    await client[Symbol.asyncDispose]();
    requireAllCommitted(result);
    requireThat(
      result.changedExtents <= places.length,
      `${result.changedExtents} extents are said to have changed, of ${places.length} written`,
    );
    const { last, mounted } = await look(context, result.snapshot, places, copy);
    requireThat(last >= before && last <= load.writes, `write ${last} is the last, between ${before} and ${load.writes} it was frozen`);
    if (imageOf(context).checked) await requireSound(context, copy);
    const times = await restoreInstantly(context, result.snapshot, places[0] ?? 0, copy);
    await rm(copy);
    await detachVolume(context);
    return {
      figures: {
        ...{ snapshot: result.snapshot, consistency: result.consistency, writes: load.writes, lastWriteInSnapshot: last },
        ...{ writesPerSecond: load.perSecond, longestWriteMs: load.longestMs, sourceReadBytes: result.readBytes },
        ...{ changedExtents: result.changedExtents, mountedEntries: mounted.entries, ...times },
      },
      lines: [
        `writes 1 to ${last} of ${load.writes} are in the snapshot, and none after; ${Math.round(load.perSecond)} writes/s one at a time, the longest ${load.longestMs.toFixed(1)} ms`,
        `${formatBytes(result.readBytes)} read of ${formatBytes(result.sizeBytes)}: ${result.changedExtents} extents of ${formatBytes(EXTENT_BYTES)} changed, and a sample`,
        mounted.line,
        `restored at once: a disk after ${Math.round(Number(times['usableMs']))} ms, its first read ${Number(times['firstReadMs']).toFixed(1)} ms; standing alone after ${(Number(times['wholeMs']) / 1000).toFixed(1)} s, with what was written meanwhile`,
      ],
    };
  },
};
