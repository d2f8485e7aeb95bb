/**
 * A sender in a process of its own, for its memory: `node replication-sender.ts FOLDER TOKEN`, which is a home of the bench. Each message is a
 * session or a copy to be played; what it came to is the answer.
 */
import { storeName, repositoryName, volumeName, type SnapshotId } from '../src/domain/ids.ts';
import { plainSession } from '../src/engine/replication/sending/session-parts.ts';
import { runSession } from '../src/engine/replication/sending/session.ts';
import { openLink } from '../src/engine/replication/transport/client.ts';
import { findSnapshot } from '../src/engine/repository/transfer-reader.ts';
import { tightenAllocator } from '../src/ground/libc/allocator.ts';
import { Threads } from '../src/ground/threads/threads.ts';
import { copyPart, openCopy, closeCopy } from '../src/systems/shipping/copy.ts';
import { commitTo } from '../src/systems/shipping/destinations.ts';
import { planCopy } from '../src/systems/shipping/plan.ts';
import { openBenchHome, settleDisk } from './installation.ts';

export type Order = { readonly volume: string; readonly snapshot: SnapshotId } & (
  { readonly kind: 'session'; readonly port: number } | { readonly kind: 'copy' }
);

export interface SessionRun {
  readonly seconds: number;
  readonly wireBytes: number;
  readonly askedAgain: number;
  readonly rounds: number;
}

const SOURCE = storeName('source');
const HERE = storeName('here');
const [folder = '', token = ''] = process.argv.slice(2);
tightenAllocator();
const home = await openBenchHome(folder, 'sender-cache');
const threads = new Threads();

async function replicate({ volume, snapshot, port }: Extract<Order, { kind: 'session' }>): Promise<SessionRun> {
  settleDisk();
  const source = await home.reader(SOURCE, repositoryName(volume));
  const of = findSnapshot(source, volumeName(volume), snapshot);
  const begun = performance.now();
  await using link = openLink({ url: `http://127.0.0.1:${port}`, token });
  const parts = plainSession({
    ...{ source, store: SOURCE, of, threads, link },
    ...{ owner: `bench.${snapshot}`, attempt: 1, takesOver: false, proof: 'listed' },
  });
  const outcome = await runSession(parts);
  const seconds = Math.round(performance.now() - begun) / 1000;
  if (outcome.kind !== 'committed') throw new Error(`the session failed: ${outcome.code}`);
  const { sent, received } = link.wire();
  const { askedAgain, rounds } = outcome.figures;
  return { seconds, wireBytes: sent + received, askedAgain, rounds };
}

/** The same snapshot to another store of the same home, without Temporal: the steps that copySnapshot drives. */
async function copy({ volume, snapshot }: Order): Promise<number> {
  settleDisk();
  const begun = performance.now();
  const plan = planCopy(await home.catalog.sync(), { volume: volumeName(volume), snapshot, from: SOURCE, to: [HERE] });
  const opened = await openCopy(home, plan, { owner: `bench.${snapshot}`, attempt: 1 });
  const [lane] = opened.destinations;
  if (lane?.kind !== 'open') throw new Error('the bench could not claim its lineage');
  const receipts = [];
  for (let subtree = 0; subtree < opened.subtrees; subtree++) {
    const part = await copyPart(home, plan, snapshot, subtree, [{ ...lane, bringAll: false }], { threads, pin: opened.pin });
    receipts.push(...part.receipts.map(({ receipt }) => receipt));
  }
  const { sizeBytes, extentBytes, takenMs, consistency, label, lineage } = opened.snapshot;
  await commitTo(home, HERE, plan.repository, {
    ...{ lineage, epoch: lane.epoch, snapshot, sizeBytes, extentBytes, takenMs, consistency, label, receipts },
  });
  await closeCopy(home, plan, opened.pin);
  return Math.round(performance.now() - begun) / 1000;
}

const play = (order: Order): Promise<SessionRun | number> => (order.kind === 'session' ? replicate(order) : copy(order));
process.on('message', (order) => void play(order as Order).then((run) => process.send?.(run)));
process.once('SIGTERM', () => {
  void (async () => {
    await threads[Symbol.asyncDispose]();
    await home[Symbol.asyncDispose]();
    process.disconnect();
  })();
});
process.send?.('ready');
