/**
 * A capturer: a process that captures volumes as the workflow does, without Temporal, and is killed whenever its starter likes.
 *
 *     node test/faults/volumes/capturer.ts FOLDER NUMBER     orders on stdin, a line of JSON each
 *
 * It tells what it has reached, and after the moment is frozen it waits for a word: whether what its starter knows of that moment
 * is good for a comparison. Lines are written synchronously: the next instruction may be its last one.
 */
import { writeSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { HoldfastError, isHoldfastError } from '../../../src/domain/errors.ts';
import type { StoreName } from '../../../src/domain/ids.ts';
import { captureInput, parseInput } from '../../../src/domain/job-inputs.ts';
import { shipAgain } from '../../../src/domain/missing.ts';
import type { SubtreeReceipt } from '../../../src/engine/transfer/contract.ts';
import { openHost } from '../../../src/engine/volumes/host.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { openCapture, shipVolume, type OpenedCapture } from '../../../src/systems/shipping/capture.ts';
import { abandonClaims, commitTo, type OpenClaim } from '../../../src/systems/shipping/destinations.ts';
import { releaseMoment } from '../../../src/systems/shipping/moment.ts';
import { planCapture, type CapturePlan } from '../../../src/systems/shipping/plan.ts';
import { openSource } from '../../../src/systems/shipping/source.ts';
import { environmentOf, HOST, openHomeIn } from '../../systems/installation.ts';
import type { CaptureLine, CaptureOrder, Word } from './capturer-process.ts';

const tell = (line: CaptureLine): void => {
  writeSync(1, `${JSON.stringify(line)}\n`);
};

const [folder = '', number = ''] = process.argv.slice(2);
const BUFFER_BYTES = 48 * 1024 * 1024;
const host = openHost(HOST, folder);
const threads = new Threads({ count: 1, bufferBytes: BUFFER_BYTES });
const home = await openHomeIn(
  folder,
  process.env,
  environmentOf(`capturer/${process.pid}`, () => undefined),
  {
    cacheDir: path.join(folder, `cache.capturer.${number}`),
    retry: { attempts: 3, baseDelayMs: 20 },
  },
);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function capture(order: CaptureOrder): Promise<void> {
  const { volume, snapshot, owner, attempt } = order;
  const plan = planCapture(await home.catalog.sync(), parseInput(captureInput, 'captureSnapshot', { volume, snapshot }), snapshot);
  const opened = await openCapture(home, host, plan, { owner, attempt });
  const { moment, stamp, destinations } = opened;
  const failed = destinations.flatMap((one) => (one.kind === 'failed' ? [{ store: one.store, code: one.failure.code }] : []));
  tell({ kind: 'opened', identity: moment.identity, momentKind: moment.kind, stamp, failed });
  const claims = destinations.flatMap((one) => (one.kind === 'open' ? [{ ...one, bringAll: false }] : []));
  try {
    // The starter is this very repository: its words are trusted.
    const { value } = await lines.next();
    if ((JSON.parse(String(value)) as Word).kind === 'give up') throw new HoldfastError('SOURCE_CHANGED', 'given up by its starter');
    for (const one of destinations) if (one.kind === 'committed') tell({ kind: 'committed', store: one.store });
    if (claims.length > 0) await shipAndCommit(plan, opened, claims);
  } catch (error) {
    await releaseMoment(host, plan, moment).catch(() => undefined);
    await abandonClaims(home, plan.repository, plan.lineage, claims).catch(() => undefined);
    throw error;
  }
  await releaseMoment(host, plan, moment).catch((error: unknown) => {
    if (!isHoldfastError(error, 'DISKS_NOT_SERVED')) throw error;
  });
}

async function shipAndCommit(plan: CapturePlan, opened: OpenedCapture, claims: readonly OpenClaim[]): Promise<void> {
  const receipts = new Map<StoreName, Map<number, SubtreeReceipt>>(claims.map(({ store }) => [store, new Map()]));
  let readBytes = 0;
  const ship = async (subtree: number, to: readonly OpenClaim[]): Promise<void> => {
    const part = await shipVolume(home, plan, opened, subtree, to, { threads });
    readBytes += part.readBytes;
    if (part.paused) throw new HoldfastError('STORE_UNREACHABLE', `paused by ${part.paused.store}: ${part.paused.reason}`);
    if (!part.stable) throw new HoldfastError('SOURCE_CHANGED', `${plan.path} changed while it was read`);
    for (const { store, failure } of part.failures) {
      receipts.delete(store);
      tell({ kind: 'store failed', store, code: failure.code });
    }
    for (const { store, receipt } of part.receipts) receipts.get(store)?.set(subtree, receipt);
  };
  for (let subtree = 0; subtree < opened.subtrees; subtree++) await ship(subtree, claims);
  tell({ kind: 'shipped', readBytes, changedBytes: await changedBytes(plan, opened) });
  for (const claim of claims) {
    try {
      await commit(plan, opened, claim, receipts, ship);
    } catch (error) {
      if (!isHoldfastError(error, 'STORE_UNREACHABLE')) throw error;
      tell({ kind: 'store failed', store: claim.store, code: error.code });
    }
  }
}

async function commit(
  plan: CapturePlan,
  opened: OpenedCapture,
  claim: OpenClaim,
  receipts: ReadonlyMap<StoreName, ReadonlyMap<number, SubtreeReceipt>>,
  ship: (subtree: number, to: readonly OpenClaim[]) => Promise<void>,
): Promise<void> {
  const { store, epoch } = claim;
  for (let answers = 1; ; answers++) {
    const own = receipts.get(store);
    if (own === undefined) return;
    const outcome = await commitTo(home, store, plan.repository, {
      ...{ lineage: plan.lineage, epoch, snapshot: plan.snapshot, sizeBytes: opened.sizeBytes, extentBytes: plan.extentBytes },
      ...{ takenMs: opened.takenMs, consistency: opened.moment.consistency, label: null },
      receipts: [...own.values()].filter((receipt) => receipt.part !== null),
    });
    if (outcome.kind === 'committed') return tell({ kind: 'committed', store });
    const again = shipAgain(outcome, answers);
    if (again === null) throw new HoldfastError('MISSING_EXTENTS', 'missing does not end');
    for (const subtree of again.subtrees) await ship(subtree, [{ ...claim, bringAll: again.bringAll }]);
  }
}

/** What the disk server said has changed since a base, as the capture was told; null: it did not know. */
async function changedBytes(plan: CapturePlan, { moment, destinations }: OpenedCapture): Promise<number | null> {
  const bases = [...new Set(destinations.flatMap((one) => (one.kind === 'open' && one.base !== null ? [one.base] : [])))];
  await using source = await openSource({ ...plan, path: moment.source, files: null, subtree: 0, bases, bitmap: null });
  for (const base of bases) {
    const ranges = await source.changedSince(base, null);
    if (ranges !== null) return ranges.reduce((sum, { length }) => sum + length, 0);
  }
  return null;
}

for (;;) {
  const { value, done } = await lines.next();
  if (done === true) break;
  try {
    await capture(JSON.parse(String(value)) as CaptureOrder);
    tell({ kind: 'done' });
  } catch (error) {
    const stack = error instanceof Error ? (error.stack ?? '') : '';
    tell({ kind: 'failed', code: isHoldfastError(error) ? error.code : 'INTERNAL', message: String(error), stack });
  }
}
process.exit(0);
