/**
 * A node: one process on a machine that takes the journal over and writes, as a served group of volumes would.
 *
 * What its client was told is durable goes to the oracle at that instant. In mode `local` a restart on the same machine has the
 * write-ahead file of the life before, if the disk still has it, and what was acknowledged by it has to be there. When order is lost
 * (the file is full; a takeover fell between a gap and its base) a gap goes first, and a base of the volumes that is read while they are
 * written.
 */
import { HoldfastError, isHoldfastError } from '../../../src/domain/errors.ts';
import type { Journal } from '../../../src/engine/journal/journal.ts';
import { Owner } from '../../../src/engine/journal/owning/owner.ts';
import type { JournalRecord } from '../../../src/engine/journal/records.ts';
import { currentEpoch } from '../../../src/engine/journal/state.ts';
import type { Opened } from '../../../src/engine/journal/takeover/opened.ts';
import { ownerName } from '../../../src/engine/journal/takeover/owner-mark.ts';
import { takeOver, type TakeOverOptions } from '../../../src/engine/journal/takeover/take-over.ts';
import type { Process } from '../scheduler.ts';
import { Violation } from '../violation.ts';
import { drawOp } from './draw-op.ts';
import { beginFailback, endFailback, type Following } from './failback.ts';
import { handOver, mayHandOver } from './handover.ts';
import { sameContent, type Content } from './histories.ts';
import { beginFile, openFile, type Machine } from './machines.ts';
import { recoverEnd } from './recovering.ts';
import { createResync, type Resync } from './resync.ts';
import { blocksOf, type Standing } from './standing.ts';
import type { World } from './world.ts';
import { appendAll, flush, tell, type Writer } from './writer.ts';

/** Flushes of one node that wait at once. */
const FLUSHES_MAX = 4;

export async function serve(world: World, process: Process, machine: Machine): Promise<void> {
  const journal = world.journalOf(process);
  const candidates = world.candidates();
  // Of mode `local` all that are named become members.
  const members = world.mode === 'local' ? candidates.slice(0, world.random.pick([1, 2, 2, 3])) : candidates;
  const options = { mode: world.mode, members, tailLost: consents(world) };
  const following = (world.calm ? world.failingBack : world.random.chance(FAILS_BACK))
    ? await beginFailback([world, process, journal], machine.standing)
    : null;
  const { opened, carried, lost, brought } = await open(world, process, machine, journal, options, following);
  world.count(`epochs taken over${carried.length > 0 ? ', with a file' : ''}`);
  const owner = new Owner({
    ...{ journal, opened, carried, level: null, spares: candidates },
    writeAhead: world.mode === 'local' ? openFile(machine, process, world.random, opened.start) : null,
    limits: { batchMs: 60, ...world.temper.patience },
  });
  await using _owner = owner;
  world.failingBack = false;
  const { content, ...stood } = stand(world, opened, carried);
  if (brought !== null && !sameContent(brought, content)) throw new Violation('a failback ends with other volumes than the journal says');
  const standing: Standing = {
    name: ownerName(opened.owner),
    process,
    ended: false,
    content: lost ?? content,
    places: new Map(carried.map((record) => [record.seq, blocksOf(record)])),
    orderSince: lost === null ? 0 : Infinity,
  };
  machine.standing = standing;
  const writer: Writer = { world, process, journal, machine, owner, standing, flushed: 0, ...stood };
  try {
    await write(writer, createResync(writer, lost !== null));
  } finally {
    standing.ended = true;
  }
}

/** Chance that a machine that was overtaken makes use of its volumes. */
const FAILS_BACK = 0.8;

/** Chance that an operator consents to the loss of what does not answer. */
const CONSENTS = 0.3;

/** Of a pair there is nothing to consent to, unless an OPEN came late, when both of its members were lost already. */
function consents({ mode, random, oracle }: World): boolean {
  if (mode === 'local') return random.chance(CONSENTS);
  return currentEpoch(oracle.state())?.members.every(({ region }) => oracle.isGone(region)) === true;
}

interface Begun {
  readonly opened: Opened;
  readonly carried: readonly JournalRecord[];
  /** What the volumes hold, if that is no moment of the journal. */
  readonly lost: Content | null;
  /** What a failback has made of them. */
  readonly brought: Content | null;
}

type Options = Omit<TakeOverOptions, 'owner' | 'own'>;

/** Goes on with the file of the machine, if the journal is still its; else as anybody would. */
async function open(
  world: World,
  process: Process,
  machine: Machine,
  journal: Journal,
  options: Options,
  following: Following | null,
): Promise<Begun> {
  const { disk } = machine;
  if (world.mode === 'local' && disk !== null && following === null) {
    const name = `${machine.name}.${disk.life}`;
    const own = { isOwner: (owner: string) => ownerName(owner) === name, from: disk.records[0]?.seq ?? disk.next };
    try {
      const opened = await takeOver(journal, { ...options, owner: name, own });
      const carried = disk.records.filter(({ seq }) => seq >= opened.start);
      checkPromised(world, machine, { opened, carried }, options.tailLost);
      if (carried.length === 0 || carried[0]?.seq === opened.start) return { opened, carried, lost: machine.dirty, brought: null };
      // The regions have lost, with consent, what the file has let go.
      beginFile(machine, disk.life);
      world.count('orphans');
      return { opened, carried: [], lost: await recoverEnd(world, process, journal, opened), brought: null };
    } catch (error) {
      if (!isHoldfastError(error, 'JOURNAL_FENCED')) throw error;
      world.count('orphans');
    }
  }
  beginFile(machine, world.serial());
  const opened = await takeOver(journal, { ...options, owner: `${machine.name}.${machine.disk?.life ?? 0}` });
  const brought = following === null ? null : await endFailback([world, process, journal], following, opened);
  if (brought !== null) return { opened, carried: [], lost: null, brought };
  return { opened, carried: [], lost: await recoverEnd(world, process, journal, opened), brought };
}

/** What was acknowledged by a file is in the journal, or in the file, unless somebody consented to the loss of what the regions had of it. */
function checkPromised(
  { histories, oracle }: World,
  machine: Machine,
  { opened, carried }: Pick<Begun, 'opened' | 'carried'>,
  isConsented: boolean,
): void {
  let moment = oracle.momentAt(Buffer.from(opened.before).toString('hex'));
  const moments = new Map(carried.map((record) => [record.seq, (moment = histories.after(moment, record))]));
  for (const [seq, promised] of [...machine.promised]) {
    if ((seq < opened.start ? oracle.closed[seq] : moments.get(seq)) === promised) continue;
    if (!isConsented) throw new Violation(`flush ${seq}, acknowledged by the file of ${machine.name}, is not there after a restart`);
    machine.promised.delete(seq);
  }
}

/** Where a writer stands when its epoch begins, with what it carried over. */
function stand(
  { histories, oracle }: World,
  opened: Opened,
  carried: readonly JournalRecord[],
): Pick<Writer, 'moment' | 'moments'> & { readonly content: Content } {
  let moment = oracle.momentAt(Buffer.from(opened.before).toString('hex'));
  const moments = new Map([[opened.start - 1, moment]]);
  for (const record of carried) {
    moment = histories.after(moment, record);
    moments.set(record.seq, moment);
  }
  return { moment, moments, content: histories.contentOf(moment) };
}

async function write(writer: Writer, resync: Resync): Promise<void> {
  const { world, process, owner } = writer;
  const { random } = world;
  const flushes = new Set<Promise<void>>();
  const failures: Error[] = [];
  for (;;) {
    await process.nap(random.below(12));
    const [failure] = failures;
    if (failure !== undefined) throw failure;
    const { state, endedBy, acknowledged, closed } = owner.status();
    if (state === 'ended') throw endedBy ?? new HoldfastError('INTERNAL', 'an owner ended and does not say why');
    if (world.mode === 'pair') {
      tell(writer, acknowledged);
      tell(writer, closed);
    }
    world.behind = owner.next - 1 - closed + (resync.isWhole() ? 0 : 1);
    await resync.step();
    if (mayHandOver(world)) return handOver(writer);
    if (!world.calm && random.chance(world.temper.changesMembers)) changeMembers(writer);
    if (world.writesLeft > 0 && random.chance(0.6)) {
      const ops = Array.from({ length: random.between(1, 4) }, () => drawOp(world));
      world.writesLeft -= ops.length;
      if (!resync.takes(ops)) await appendAll(writer, ops);
    }
    // In the quiet only what is new: who waits there would have a long journal to read.
    const isFlushed = world.calm && owner.next - 1 <= writer.flushed;
    if (random.chance(0.3) && flushes.size < FLUSHES_MAX && !resync.isOrderLost() && !isFlushed) {
      const flushed = flush(writer).catch(
        (error: unknown) => void failures.push(error instanceof Error ? error : new Error(String(error))),
      );
      flushes.add(flushed);
      void flushed.then(() => flushes.delete(flushed));
    }
    if (random.chance(0.05)) owner.release(acknowledged);
  }
}

/** Goes on with other members, whoever answers, while it writes; what ends the owner ends the node elsewhere. */
function changeMembers({ world, owner }: Writer): void {
  const members = world.candidates().slice(0, world.mode === 'pair' ? 2 : world.random.pick([1, 2, 3]));
  if (world.mode === 'pair' && members.length < 2) return;
  owner.changeMembers(members).then(
    () => world.count('members changed'),
    (error: unknown) => {
      if (!isHoldfastError(error)) world.failed ??= error instanceof Error ? error : new Error(String(error));
    },
  );
}
