/**
 * The volume's last second: every flush of the disk goes to a journal in two stores. Under load the node that serves it is killed and one of the stores
 * goes with it; what comes back from the other one is the point that had been given a name, and the second before the loss, which no snapshot has.
 */
import { open, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { NbdClient } from '../../../engine/volumes/nbd/client.ts';
import { lastWriteIn, startCounting } from '../counting-writer.ts';
import { imageOf, type DemoContext } from '../demo-context.ts';
import { STORES } from '../demo-folder.ts';
import { VOLUME } from '../installation.ts';
import { attachVolume, awaitServed, choosePlaces, connect, detachVolume, requireSound } from '../served-disk.ts';
import { requireThat, type Step } from '../step.ts';

const JOURNAL = 'last-second';
const NAME = 'before-the-release';
const [LOST, KEPT, LOG] = STORES;
/** Of writing, before the point that gets a name, and after it. */
const WRITING_MS = [700, 2500] as const;
const FLUSH_EVERY_MS = 50;
const BEFORE_MS = 1000;
/** A point is found by the time of the batch that it is in, which is formed within a second. */
const POINT_MS = 1000;

const point = z.looseObject({ seq: z.number() });
const recovered = z.looseObject({ point: z.looseObject({ seq: z.number() }), paths: z.array(z.string()) });
const status = z.tuple([z.looseObject({ status: z.looseObject({ rpoMs: z.number() }) })]);

/** So many writes had been answered by then, and were flushed a little later. */
interface Flushed {
  readonly writes: number;
  readonly atMs: number;
}

interface Lost {
  /** Writes that were answered before the named point was asked for, and when it was answered. */
  readonly named: readonly [number, number];
  /** Oldest first. */
  readonly flushes: readonly Flushed[];
  readonly atMs: number;
  /** As the disk server said it under load. */
  readonly rpoMs: number;
}

/** Flushes again and again until the disk is gone. */
async function flushOn(client: NbdClient, written: () => number, flushes: Flushed[]): Promise<void> {
  for (;;) {
    // Counted from the answers: the one under way may be in it, and need not.
    const now = { writes: written() - 1, atMs: Date.now() };
    await client.flush();
    flushes.push(now);
    await sleep(FLUSH_EVERY_MS);
  }
}

/** Counted writes with a named point among them; then the disk server is killed and a store is gone, in the middle of it. */
async function writeAndLose(context: DemoContext, uri: string, places: readonly number[]): Promise<Lost> {
  const { programs, installation, folder } = context;
  await using client = await connect(uri);
  const counting = startCounting(client, places);
  const flushes: Flushed[] = [];
  const flushing = flushOn(client, () => counting.written, flushes);
  // It ends with the disk.
  flushing.catch(() => undefined);
  await sleep(WRITING_MS[0]);
  const before = counting.written - 1;
  await programs.holdfastJson(point, ['protect', 'point', JOURNAL, '--name', NAME], installation.variables);
  const after = counting.written;
  await sleep(WRITING_MS[1]);
  const [{ status: now }] = await programs.holdfastJson(status, ['protect', 'status'], installation.variables);
  const atMs = Date.now();
  await Promise.all([installation.killWorker('disks'), folder.moveAway(folder.store(LOST))]);
  await Promise.allSettled([flushing, counting.stop()]);
  return { named: [before, after], flushes, atMs, rpoMs: now.rpoMs };
}

/** The disk as of a point: its last write, and whether its file system is sound. */
async function recoverLast(context: DemoContext, places: readonly number[], asked: readonly string[]): Promise<number> {
  const { folder, programs, installation } = context;
  const into = path.join(folder.restored, JOURNAL);
  const { paths } = await programs.holdfastJson(recovered, ['protect', 'recover', JOURNAL, into, ...asked], installation.variables);
  const image = paths[0] ?? '';
  const last = await (async () => {
    await using file = await open(image);
    return await lastWriteIn({ read: (block, at) => file.read(block, 0, block.length, at) }, places);
  })();
  if (imageOf(context).checked) await requireSound(context, image);
  await rm(into, { recursive: true });
  return last;
}

/** What was flushed by then. */
const flushedBy = (flushes: readonly Flushed[], atMs: number): number => flushes.findLast((one) => one.atMs <= atMs)?.writes ?? 0;
/** How long before the loss somebody had written more than is back. */
const secondsLost = ({ flushes, atMs }: Lost, last: number): number =>
  (atMs - (flushes.find(({ writes }) => writes > last)?.atMs ?? atMs)) / 1000;

export const journal: Step<DemoContext> = {
  name: 'journal',
  title: 'every flush in two stores: its node and a store lost under load, and had back to the second before',
  async run(context) {
    const { programs, installation, folder, note } = context;
    const { variables } = installation;
    const uri = await attachVolume(context);
    const places = choosePlaces(context);
    note('holdfast protect start');
    const where = ['--log', LOG, '--region', LOST, '--region', KEPT, '--mode', 'pair'];
    await programs.holdfastJson(z.unknown(), ['protect', 'start', JOURNAL, VOLUME, ...where], variables);
    const lost = await writeAndLose(context, uri, places);
    const { named, flushes, atMs, rpoMs } = lost;
    note('holdfast protect recover');
    const begunMs = performance.now();
    const atName = await recoverLast(context, places, ['--name', NAME]);
    const seconds = (performance.now() - begunMs) / 1000;
    requireThat(atName >= named[0] && atName <= named[1], `write ${atName} is the last of ${NAME}, made between ${named.join(' and ')}`);
    const second = atMs - BEFORE_MS;
    const atSecond = await recoverLast(context, places, ['--at', new Date(second).toISOString()]);
    const least = flushedBy(flushes, second - POINT_MS);
    requireThat(atSecond >= least, `write ${atSecond} is the last of the second before, and ${least} was flushed by then`);
    const atLast = await recoverLast(context, places, []);
    const rpoSeconds = secondsLost(lost, atLast);
    requireThat(atLast >= atSecond, `write ${atLast} is the last of all, and ${atSecond} was there a second before`);
    // Back to an installation as the next steps expect it.
    await folder.bringBack(folder.store(LOST));
    await installation.startWorker('disks');
    await awaitServed(context);
    await programs.holdfastJson(z.unknown(), ['protect', 'stop', JOURNAL], variables);
    await detachVolume(context);
    const writes = flushes.at(-1)?.writes ?? 0;
    return {
      figures: {
        ...{ flushes: flushes.length, writesFlushed: writes, rpoUnderLoadSeconds: rpoMs / 1000 },
        ...{ lastWriteAtName: atName, lastWriteASecondBefore: atSecond, lastWriteRecovered: atLast, rpoSeconds, recoverySeconds: seconds },
      },
      lines: [
        `${flushes.length} flushes of ${writes} writes, each in two stores before it is answered; then the node killed and ${LOST} gone. RPO as measured under load: ${(rpoMs / 1000).toFixed(2)} s`,
        `back from ${KEPT} alone: the named point with writes 1 to ${atName}, a second before the loss 1 to ${atSecond}, the newest point 1 to ${atLast} (${rpoSeconds.toFixed(2)} s before the loss)`,
      ],
    };
  },
};
