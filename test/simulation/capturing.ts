/**
 * The writer: one try at a snapshot that some workflow wants, on the real claim, destination and commit.
 *
 * A job has many tries. The same attempt may run in two processes at once (an activity that was retried while its first
 * run slept): they share the epoch and what the workflow has noted of finished subtrees. A later attempt adopts what earlier
 * ones have put. Another run of the workflow may take over. Whatever they do to each other, at most one snapshot results.
 */
import { lineageOf, volumeOf, type Lineage } from '../../src/domain/ids.ts';
import { EXTENT_BYTES_MIN, MISSING_ROUNDS_MAX, SUBTREE_EXTENTS } from '../../src/domain/limits.ts';
import { shipAgain, type ShipAgain } from '../../src/domain/missing.ts';
import { claimLineage } from '../../src/engine/repository/claims.ts';
import { commitShipment } from '../../src/engine/repository/commit.ts';
import { openDestination } from '../../src/engine/repository/destination.ts';
import type { Repository } from '../../src/engine/repository/repository.ts';
import { isAbsent } from '../../src/engine/map/node.ts';
import type { Destination, SubtreeReceipt } from '../../src/engine/transfer/contract.ts';
import { shipSubtree } from '../engine/repository/ship.ts';
import { healLost } from './healing.ts';
import { NOTHING, ROOT, createReference } from './reference.ts';
import { Violation } from './violation.ts';
import { contentFrom, extentAt, type Image } from './volumes.ts';
import type { Worker } from './worker.ts';
import type { CaptureJob, World } from './world.ts';

/** The job that a workflow would run next: the one under way, tried again in some way, or the next snapshot. */
export function nextJob(world: World): CaptureJob {
  const { random, oracle, lineages, jobs } = world;
  let i = random.below(lineages.length);
  // Mostly one writer a lineage, as workflows would have it.
  if (world.capturing.get(lineages[i] ?? '')?.alive() && random.chance(0.7)) i = random.below(lineages.length);
  let lineage = lineages[i] ?? random.pick(lineages);
  if (oracle.ledger().retired.has(lineage)) lineage = lineages[i] = nextIncarnation(lineage);
  const before = jobs.get(lineage);
  let job: CaptureJob;
  if (!before || oracle.ledger().used.has(before.snapshot) || random.chance(0.1))
    job = { lineage, snapshot: world.newSnapshot(), owner: `run${world.serial()}`, attempt: 1 };
  else {
    const how = random.weighted({ again: 3, attempt: 5, takeover: 1 });
    if (how === 'again') job = before;
    else if (how === 'attempt') job = { ...before, attempt: before.attempt + 1 };
    else job = { ...before, owner: `run${world.serial()}`, attempt: 1 };
  }
  jobs.set(lineage, job);
  return job;
}

const nextIncarnation = (lineage: Lineage): Lineage =>
  lineageOf(volumeOf(lineage), Number(lineage.slice(lineage.lastIndexOf('@') + 1)) + 1);

const reference = createReference();
const rootOf = (image: Image): string | null => reference.tree(image).get(ROOT) ?? null;

export async function capture(world: World, worker: Worker, job: CaptureJob): Promise<void> {
  world.capturing.set(job.lineage, worker.process);
  await attempt(world, worker, job);
  world.capturing.delete(job.lineage);
}

async function attempt(world: World, { repository, process }: Worker, job: CaptureJob): Promise<void> {
  const { random, volumes, oracle } = world;
  const { lineage, snapshot } = job;
  const image = volumes.contentOf(lineage, snapshot);
  const claimed = await claimLineage(repository, job);
  if (claimed.kind === 'committed') {
    if (claimed.root !== rootOf(image)) throw new Violation('a snapshot is said to be committed with another root');
    return;
  }
  const { epoch } = claimed.claim;
  if (!oracle.record(epoch)?.some((entry) => entry.kind === 'CLAIM' && entry.actor === lineage))
    throw new Violation(`an epoch ${epoch} that is no claim`);
  const before = claimed.base === null ? [] : volumes.known(claimed.base.id);
  if (world.harmful) await heal(world, { repository, process }, lineage, epoch);
  const receipts = world.receipts.get(epoch) ?? new Map<number, Awaited<ReturnType<typeof shipSubtree>>>();
  world.receipts.set(epoch, receipts);
  const content = contentFrom(image);
  const unshipped = subtreesOf(Math.max(image.length, before.length)).filter((subtree) => !receipts.has(subtree));
  let again: ShipAgain = { subtrees: unshipped, bringAll: false };
  for (let round = 1, answers = 0; ; round++) {
    const { bringAll } = again;
    const destination = forgetful(world, openDestination({ store: 'simulated', repository, lineage, epoch, codec: 'zstd-1', bringAll }));
    for (const subtree of again.subtrees) {
      const receipt = await shipSubtree(destination, subtree, content);
      if (bringAll) await expectRelianceOnBase(repository, receipt);
      receipts.set(subtree, receipt);
    }
    if (random.chance(0.4)) await process.nap(random.below(world.temper.pauseMax));
    const outcome = await commitShipment(repository, {
      lineage,
      epoch,
      snapshot,
      sizeBytes: image.length * EXTENT_BYTES_MIN,
      extentBytes: EXTENT_BYTES_MIN,
      takenMs: 0,
      consistency: 'crash',
      label: null,
      receipts: [...receipts.values()],
    });
    if (outcome.kind === 'committed') {
      if (!oracle.ledger().used.has(snapshot)) throw new Violation('a snapshot is reported that does not exist');
      if (outcome.root !== rootOf(image)) throw new Violation(`a snapshot is reported with root ${outcome.root ?? NOTHING}`);
      return world.count('snapshots committed');
    }
    world.count('missing rounds');
    world.most('missing rounds of one commit, the most', round);
    // As if the answers before had been *missing*, too: two in a row are too rare to wait for.
    answers += answers === 0 ? 1 + random.below(MISSING_ROUNDS_MAX) : 1;
    const next = shipAgain(outcome, answers);
    if (next === null) throw new Violation(`missing does not end: ${outcome.values} values after all was brought`);
    if (next.bringAll) world.count('missing rounds that bring all');
    again = next;
  }
}

/** Mostly a claim begins with what is lost, so that its base can be read; some end with it. */
async function heal(
  world: World,
  { repository, process }: Pick<Worker, 'repository' | 'process'>,
  lineage: Lineage,
  epoch: number,
): Promise<void> {
  const { random, temper } = world;
  if (random.chance(0.2)) return;
  const destination = openDestination({ store: 'simulated', repository, lineage, epoch, codec: 'zstd-1', bringAll: false });
  await healLost(world, repository, destination, () => (random.chance(0.3) ? process.nap(random.below(temper.pauseMax)) : null));
}

/** What was to bring all uses nothing that it does not bring. */
async function expectRelianceOnBase(repository: Repository, { subtree, part }: SubtreeReceipt): Promise<void> {
  const change = part === null ? null : await repository.changes.read(part);
  if (change === null) return;
  const brought = new Set(change.values.map((value) => value.fingerprint.toString('hex')));
  const relied = change.diff.find((row) => !isAbsent(row.new) && !brought.has(row.new.toString('hex')));
  if (relied)
    throw new Violation(`subtree ${subtree} was to bring all and relies on ${relied.new.toString('hex')} at level ${relied.level}`);
}

const subtreesOf = (positions: number): number[] => {
  const last = Math.floor(extentAt(Math.max(0, positions - 1)) / SUBTREE_EXTENTS);
  return Array.from({ length: last + 1 }, (_, i) => i);
};

/** Now and then a value is brought though it is known: two writers at once do the same. */
const forgetful = ({ random }: World, destination: Destination): Destination => ({
  ...destination,
  has: (fingerprint) => destination.has(fingerprint) && !random.chance(0.1),
});
