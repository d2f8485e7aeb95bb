/** How a run ends: who has the journal then, and what must be in it. */
import { copyFileSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '../../../src/domain/errors.ts';
import { orphansIn } from '../../../src/engine/journal/owning/own-file.ts';
import type { JournalRecord } from '../../../src/engine/journal/records.ts';
import { currentEpoch } from '../../../src/engine/journal/state.ts';
import { takeOver } from '../../../src/engine/journal/takeover/take-over.ts';
import { writeAheadFolderOf } from '../../../src/systems/protection/opening.ts';
import type { ProtectionWorld } from '../../systems/protection/protection-world.ts';
import { Violation } from '../volumes/violation.ts';
import { examine, imagesAt, loaded, pointsOf, promisesOf } from './examination.ts';
import { machineMs, readHistory, type History } from './history.ts';
import { ANYTHING, prefixOf, type Expected } from './prefix.ts';
import { disksOf, groupOf, type Scene, type Site } from './scene.ts';
import type { StoreId } from './script.ts';

/** Bounds of who waits on a slow machine; what happens takes a few seconds at the most. */
const LEARNS_WITHIN_MS = 30_000;
const REPLACED_WITHIN_MS = 30_000;
const BASES_MOST = 4;

export async function end(scene: Scene): Promise<void> {
  switch (scene.script.ending.kind) {
    case 'own':
      return endAsOwner(scene);
    case 'host lost':
      return endWithoutHost(scene);
    case 'rival':
      return endWithRival(scene);
  }
}

/** The volumes and the newest point are one, and have everything that was answered. */
async function endAsOwner(scene: Scene): Promise<void> {
  const { one, counts, script } = scene;
  if (script.gone !== null) await requireSpare(scene, script.gone);
  one.links.calm();
  // Who holds so little would lose order again wherever the machine is slow.
  if (script.heldBytesMax !== null) await Promise.all([one.loader.stop(), one.fio?.stop()]);
  await protectedAgain(scene, one);
  const asked = machineMs();
  const named = await one.host.host.disks.point('j', []);
  const answered = machineMs();
  const { history, seq } = await rest(scene, one);
  counted(counts, history);
  await examine(scene, {
    chapters: [{ history, from: 0 }],
    newest: { seq, answeredBefore: Infinity, images: imagesIn(one, scene) },
    named: { seq: named.seq, answeredBefore: asked, askedBefore: answered },
  });
}

/** A pair that has lost a member for good goes on with its spare: what is promised now is in both. */
async function requireSpare({ one, counts, note }: Scene, gone: StoreId): Promise<void> {
  const deadline = machineMs() + REPLACED_WITHIN_MS;
  const log = (await one.host.journal()).log;
  for (;;) {
    const members = currentEpoch(await log.sync())?.members.map(({ region }) => region) ?? [];
    if (members.length === 2 && members.includes('c') && !members.includes(gone)) break;
    if (machineMs() > deadline) throw new Violation(`${gone} is gone for good, and the members are ${members.join(', ')}`);
    await sleep(20);
  }
  const replacedAt = machineMs();
  for (; !readHistory(one.history).promises.some(({ asked }) => asked > replacedAt); await sleep(50))
    if (machineMs() > deadline) throw new Violation(`${gone} is gone for good, c has its place, and nothing is promised`);
  note(`c is a member for ${gone}, and flushes are answered`);
  counts.bereft++;
}

/** Records are made, order is known: behind a gap after a base. */
async function protectedAgain({ counts, note }: Scene, { host }: Site): Promise<void> {
  await host.until('PROTECTED', 'CATCHING_UP', 'RESYNC', 'BITMAP');
  const [status] = await host.host.disks.protection();
  if (status?.state === 'PROTECTED' || status?.state === 'CATCHING_UP') return;
  await host.until('RESYNC', 'PROTECTED', 'CATCHING_UP');
  counts.resyncs++;
  // One of an epoch that has ended meanwhile is none; and a region that came late lacks what is before it.
  for (let tries = 0; tries < BASES_MOST; tries++) {
    const outcomes = await host.takeBase();
    note(`a base: ${JSON.stringify(outcomes)}`);
    if (outcomes.some(({ kind }) => kind === 'recorded')) break;
    await host.backfill();
    note('members are filled up');
  }
  await host.until('PROTECTED', 'CATCHING_UP');
}

/** Nobody asks for anything any more, and all of it is in a region. */
async function rest(scene: Scene, { host, loader, fio, history }: Site): Promise<{ readonly history: History; readonly seq: number }> {
  await Promise.all([loader.stop(), fio?.stop()]);
  const { seq } = await host.host.disks.point('j', []);
  await host.untilListed(seq);
  scene.note(`at rest, the newest point is ${seq}`);
  return { history: readHistory(history), seq };
}

const imagesIn = ({ host }: Site, { script }: Scene): readonly Buffer[] =>
  disksOf(script).map(({ name }) => readFileSync(path.join(host.folder, `${name}.img`)));

interface Taken {
  readonly opened: number;
  readonly endSeq: number;
}

/** Somebody opens the next epoch, who is not the owner. */
async function overtake(scene: Scene, host: ProtectionWorld): Promise<Taken> {
  const { script, note, seen } = scene;
  const { members } = groupOf(scene, host);
  const journal = await host.journal();
  const { epoch, closed } = await takeOver(journal, { owner: 'n2 failover', mode: script.mode, members, tailLost: false });
  const opened = machineMs();
  const endSeq = closed?.end?.seq ?? 0;
  note(`n2 has epoch ${epoch}; the one before ended with ${endSeq}`);
  const promised = script.mode === 'pair' ? Math.max(seen.closed, seen.acknowledged) : seen.closed;
  if (endSeq < promised) throw new Violation(`the epoch ended with ${endSeq}, and ${promised} was in the regions`);
  return { opened, endSeq };
}

async function endWithoutHost(scene: Scene): Promise<void> {
  const { one, counts, world } = scene;
  await one.node.kill();
  counts.hostsLost++;
  await one.loader.stop();
  await one.fio?.kill();
  rmSync(path.join(one.host.folder, 'disks'), { recursive: true });
  const history = readHistory(one.history);
  counted(counts, history);
  const other = world.host('other');
  await overtake(scene, other);
  await examine(scene, { chapters: [{ history, from: 0 }], newest: promisedOf(scene, history) });
}

/** What the regions hold without the owner: what a pair has promised, up to a gap without a base (P5). */
const promisedOf = ({ script, one }: Scene, history: History): Partial<Expected> =>
  script.mode === 'pair' ? promisesOf(history, one.node.lostAtMs ?? Infinity) : {};

async function endWithRival(scene: Scene): Promise<void> {
  const { one, two, counts, script, note } = scene;
  if (two === null || script.ending.kind !== 'rival') throw new Error('no rival');
  counts.rivals++;
  const { owner } = script.ending;
  if (owner === 'frozen') {
    counts.frozen++;
    one.node.freeze();
  } else if (owner === 'awake') one.links.calm();
  else
    one.links.turn(owner === 'without log' ? ['log'] : ['log', 'a', 'b', 'c'], { passes: 'away', slowMs: 0, late: 0, lost: 0, doubled: 0 });
  const taken = await overtake(scene, two.host);
  await scene.dice.pause(50, 500);
  if (owner === 'frozen') one.node.thaw();
  one.links.calm();
  const fenced = await learns(one);
  counts.fenced++;
  await sleep(150);
  await one.loader.stop();
  await one.fio?.kill();
  await one.node.kill();
  const history = readHistory(one.history);
  counted(counts, history);
  requireSilence(scene, history, taken.opened, fenced);
  const points = await pointsOf(two.host);
  const newest = points.at(-1);
  if (newest === undefined && taken.endSeq === 0) {
    note('no region had heard of anything');
    if (script.mode === 'local') await examineOrphans(scene, history);
    return;
  }
  if (newest === undefined || newest.seq > taken.endSeq) throw new Violation(`the newest point is ${newest?.seq}, the end ${taken.endSeq}`);
  const { paths, images } = await imagesAt(scene, two.host, newest.seq);
  const kept = prefixOf(
    history,
    loaded(scene, images),
    { ...ANYTHING, ...promisedOf(scene, history) },
    `what was taken over, ${newest.seq}`,
  );
  note(`taken over with ${kept.size} of ${history.changes.size} changes, at ${newest.seq}`);
  if (script.mode === 'local') await examineOrphans(scene, history);
  await goOnAt(scene, two, paths, { history, kept, endSeq: taken.endSeq });
}

async function learns({ node, name, history }: Site): Promise<number> {
  for (const until = Date.now() + LEARNS_WITHIN_MS; Date.now() < until; await sleep(10))
    if (node.fencedAtMs !== null) return node.fencedAtMs;
  const { changes, refusals } = readHistory(history);
  const newest = Math.max(0, ...[...changes.values()].flatMap(({ answered }) => (answered < Infinity ? [answered] : [])));
  const asked = Math.max(0, ...[...changes.values()].map((change) => change.asked));
  const [askedMs, answeredMs] = [asked, newest].map((atMs) => Math.round(machineMs() - atMs));
  throw new Violation(
    `${name} does not learn within ${LEARNS_WITHIN_MS} ms that it was overtaken: the newest change was asked for ${askedMs} ms ago, ` +
      `and answered ${answeredMs} ms ago; ${refusals.length} were refused`,
  );
}

/** Who was fenced acknowledges nothing: a pair from the OPEN of the other on, and anyone from when it knows. */
function requireSilence({ script }: Scene, { promises, changes }: History, opened: number, fenced: number): void {
  const late = promises.find(({ asked }) => asked > (script.mode === 'pair' ? Math.min(opened, fenced) : fenced));
  if (late !== undefined)
    throw new Violation(`a flush was asked for at ${late.asked}, and answered: it was overtaken at ${opened}, and knew at ${fenced}`);
  const change = [...changes.values()].find(({ asked, answered }) => asked > fenced && answered < Infinity);
  if (change !== undefined)
    throw new Violation(`change ${change.id} was asked for at ${change.asked}, and made: it was fenced at ${fenced}`);
}

/** What the overtaken host acknowledged, and nobody else has, is in the file that it has set aside. */
async function examineOrphans(scene: Scene, history: History): Promise<void> {
  const { one, counts } = scene;
  await one.node.start();
  await one.host.until('FENCED');
  const journal = await one.host.journal();
  const orphans = await orphansIn(journal, writeAheadFolderOf(path.join(one.host.folder, 'disks/.journals/j')));
  const [orphan] = orphans;
  if (orphan === undefined) throw new Violation('nothing was set aside');
  const images = await imagesBelow(scene, orphan.endedAt);
  let isOrdered = true;
  for await (const record of orphan.records()) {
    counts.orphans++;
    // What was changed between is in no record.
    isOrdered &&= record.kind !== 'gap';
    if (isOrdered && images !== null) redo(images, record);
  }
  const promised = { ...ANYTHING, ...promisesOf(history, one.node.lostAtMs ?? Infinity) };
  if (images !== null) prefixOf(history, loaded(scene, images), promised, `what was taken over, and the orphan from ${orphan.endedAt} on`);
  await one.node.kill();
}

/** Null: the regions have it behind a gap without a base. */
async function imagesBelow(scene: Scene, seq: number): Promise<readonly Buffer[] | null> {
  const { sizes, one } = scene;
  if (seq === 0) return sizes.map((size) => Buffer.alloc(size));
  try {
    return (await imagesAt(scene, one.host, seq)).images;
  } catch (error) {
    if (one.node.lostAtMs !== null && isHoldfastError(error, 'POINT_GONE')) return null;
    throw error;
  }
}

function redo(images: readonly Buffer[], record: JournalRecord): void {
  if (record.kind === 'flush' || record.kind === 'gap') return;
  const image = images[record.volume] ?? Buffer.alloc(0);
  if (record.kind === 'write') image.set(record.data, record.offset);
  else image.fill(0, record.offset, record.offset + record.length);
}

interface TakenOver {
  readonly history: History;
  readonly kept: ReadonlySet<number>;
  readonly endSeq: number;
}

/** The other host serves what it has recovered. */
async function goOnAt(scene: Scene, two: Site, paths: readonly string[], { history, kept, endSeq }: TakenOver): Promise<void> {
  const { script, counts } = scene;
  for (const [i, { name, sizeBytes }] of disksOf(script).entries()) {
    copyFileSync(paths[i] ?? '', path.join(two.host.folder, `${name}.img`));
    await two.host.attach(name, sizeBytes);
  }
  await two.host.host.disks.protect(groupOf(scene, two.host));
  two.loader.load();
  await scene.dice.pause(100, 300);
  await protectedAgain(scene, two);
  await scene.dice.pause(50, 200);
  const { seq } = await rest(scene, two);
  const before = [...history.changes.values()].filter(({ id }) => kept.has(id));
  const later = readHistory(two.history, before);
  counted(counts, later);
  await examine(scene, {
    chapters: [
      { history, from: 0 },
      { history: later, from: endSeq + 1 },
    ],
    newest: { seq, answeredBefore: Infinity, images: imagesIn(two, scene) },
  });
}

function counted(counts: Scene['counts'], { changes, promises }: History): void {
  for (const { answered } of changes.values()) if (answered < Infinity) counts.changes++;
  counts.promises += promises.length;
}
