/**
 * One run: two lineages are sent, snapshot after snapshot, while the script's troubles come; each attempt that ends without the
 * snapshot is followed by the next one, until it is told committed. Then all of it is examined.
 *
 * What an attempt may end with is named here. Anything else, and anything that does not end, fails the run.
 */
import type { ProofLevel } from '../../../src/engine/replication/frames.ts';
import type { Threads } from '../../../src/ground/threads/threads.ts';
import { diceOf, type Dice } from '../volumes/dice.ts';
import { messageOf, Violation } from '../volumes/violation.ts';
import { startCollecting, type Collecting } from './collecting.ts';
import { noCounts, type Counts } from './counts.ts';
import { demandNoHalf, examine } from './examination.ts';
import { createLedger, type Promises } from './promises.ts';
import { RECEIVER_POINTS, SENDER_POINTS, type Kill } from './points.ts';
import { CALM, startProxy, type Proxy } from './proxy.ts';
import { createSender, startReceiver, type ReceiverProcess, type SenderProcess } from './processes.ts';
import { writeScript, type Script, type VolumePlan } from './script.ts';
import { createStrikes, type Strikes } from './striking.ts';
import { createWireWatch } from './wire-watch.ts';
import { idOf, makeWorld, type Taken, type World } from './world.ts';

export interface RunOptions {
  readonly seed: number;
  readonly threads: Threads;
  readonly trace: (line: string) => void;
  /** All that are killed are killed there. */
  readonly point: string | null;
}

export interface RunReport {
  readonly counts: Counts;
  readonly kills: ReadonlyMap<string, number>;
  /** Attempts that ended without the snapshot, by code. */
  readonly failures: ReadonlyMap<string, number>;
  /** The most that a receiver had in memory. */
  readonly residentBytesMax: number;
  /** What did not hold; null: all did. */
  readonly violation: string | null;
}

const ATTEMPTS_MAX = 40;
const RESIDENT_BYTES_MAX = 512 * 1024 * 1024;

export interface Scene {
  readonly script: Script;
  readonly world: World;
  readonly proxy: Proxy;
  readonly receiver: ReceiverProcess;
  readonly collecting: Collecting;
  readonly promises: Promises;
  readonly counts: Counts;
  readonly kills: Map<string, number>;
  readonly failures: Map<string, number>;
  readonly point: string | null;
  readonly note: (line: string) => void;
  readonly signal: AbortSignal;
  /** Nobody is killed any more, nothing is harmed. */
  isCalm: boolean;
}

export async function playRun({ seed, threads, trace, point }: RunOptions): Promise<RunReport> {
  const begunMs = performance.now();
  const note = (line: string): void => trace(`${((performance.now() - begunMs) / 1000).toFixed(3).padStart(8)}  ${line}`);
  const script = writeScript(seed);
  const counts = noCounts();
  const [kills, failures] = [new Map<string, number>(), new Map<string, number>()];
  const ending = new AbortController();
  const fail = (error: unknown): void => {
    if (ending.signal.aborted) return;
    note(`VIOLATION ${messageOf(error)}`);
    ending.abort(error instanceof Error ? error : new Violation(messageOf(error)));
  };
  let residentBytesMax = 0;
  note(`${script.kind}, proof ${script.proof}, losses ${JSON.stringify(script.losses)}, rival ${JSON.stringify(script.rival)}`);

  await using world = await makeWorld(script.volumes, threads);
  const watch = createWireWatch();
  const promises = createLedger(world, watch);
  let strikes: Strikes | null = null;
  await using proxy = await startProxy({
    ...{ watch, dice: diceOf(seed, 'weather'), onViolation: fail },
    onMishap: (mishap) => void counts[mishap]++,
    onAnswers: async (said, answers) => strikes?.answered(said, answers),
  });
  const onKilled = (where: string): void => void kills.set(where, (kills.get(where) ?? 0) + 1);
  const processes = { world, proxy, dice: diceOf(seed, 'processes'), onKilled, onViolation: fail, note };
  const receiver = startReceiver(processes);
  const senders = ['a', 'b', 'rival'].map((name) => createSender(processes, name));
  const collecting = startCollecting({
    ...{ world, counts, dice: diceOf(seed, 'collecting'), onViolation: fail, isHarmed: () => promises.isHarmed },
    onHidden: (snapshot) => promises.hide(snapshot),
    onCollected: () => demandNoHalf(world, promises),
  });
  const scene: Scene = {
    ...{ script, world, proxy, receiver, collecting, promises, counts, kills, failures, point, note },
    ...{ signal: ending.signal, isCalm: false },
  };
  strikes = createStrikes(scene);
  try {
    const violated = new Promise<never>((_, reject) => ending.signal.addEventListener('abort', () => reject(ending.signal.reason)));
    await Promise.race([playScene(scene, senders), violated]);
    await collecting.stop();
    await receiver.tended();
    residentBytesMax = await receiver.stop();
    if (residentBytesMax > RESIDENT_BYTES_MAX) throw new Violation(`a receiver had ${residentBytesMax} bytes in memory`);
    await examine(scene);
  } catch (error) {
    fail(error);
  } finally {
    await Promise.all([collecting.stop(), receiver.kill(), ...senders.map((one) => one.kill())]);
    await proxy.settled();
  }
  const violation = ending.signal.aborted ? explain(ending.signal.reason) : null;
  return { counts, kills, failures, residentBytesMax, violation };
}

const explain = (error: unknown): string =>
  error instanceof Violation ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error);

async function playScene(scene: Scene, senders: readonly SenderProcess[]): Promise<void> {
  const { script, world, proxy, promises, receiver } = scene;
  const taken = new Map<VolumePlan, Taken[]>();
  for (const plan of script.volumes) {
    const list: Taken[] = [];
    for (let i = 0; i < plan.snapshots.length; i++) list.push(await world.capture(plan, i));
    list.forEach((one) => promises.know(one));
    taken.set(plan, list);
  }
  const [a, b] = script.volumes;
  const [toA, toB, rival] = senders;
  if (toA === undefined || toB === undefined || rival === undefined) throw new Error('there are three senders');
  const sendA = (): Promise<void> => sendLineage(scene, toA, rival, taken.get(a) ?? []);
  const sendB = (): Promise<void> => sendLineage(scene, toB, null, taken.get(b) ?? []);
  proxy.weather = script.weather;
  if (script.kind === 'loss') {
    await sendB();
    await sendA();
  } else await Promise.all([sendA(), sendB(), beAway(scene)]);
  scene.isCalm = true;
  proxy.weather = CALM;
  receiver.arm(null);
  await proxy.settled();
  if (!promises.isHarmed) return;
  // What was lost after it had been proven is found, and healed, by the next sessions that look at all.
  for (const [plan, sender] of [
    [a, toA],
    [b, toB],
  ] as const) {
    const healing = await world.capture(plan, plan.snapshots.length);
    promises.know(healing);
    await sendUntilCommitted(scene, { sender, taken: healing, dice: diceOf(script.seed, `healing ${plan.name}`), proof: 'all' });
    promises.healedBy(healing);
    scene.counts.healed++;
  }
}

async function beAway({ script, proxy }: Scene): Promise<void> {
  if (script.awayMs === null) return;
  await diceOf(script.seed, 'away').pause(100, 2000);
  await proxy.away(script.awayMs);
}

// -- sending --------------------------------------------------------------------------------------------------------

async function sendLineage(scene: Scene, sender: SenderProcess, rival: SenderProcess | null, list: readonly Taken[]): Promise<void> {
  const { script } = scene;
  for (const [i, taken] of list.entries()) {
    const dice = diceOf(script.seed, `sending ${taken.volume} ${i}`);
    const isRivalled = rival !== null && script.rival?.snapshot === i;
    const rivals = script.rival?.sends === 'next' ? (list[i + 1] ?? taken) : taken;
    await Promise.all([
      sendUntilCommitted(scene, { sender, taken, dice, proof: script.proof }),
      isRivalled ? sendAsRival(scene, rival, rivals, diceOf(script.seed, 'rival')) : null,
    ]);
    await demandStruck(scene, taken, i);
  }
}

interface Sending {
  readonly sender: SenderProcess;
  readonly taken: Taken;
  readonly dice: Dice;
  readonly proof: ProofLevel;
}

async function sendUntilCommitted(scene: Scene, { sender, taken, dice, proof }: Sending): Promise<void> {
  const { script, promises, counts, signal, note } = scene;
  await promises.begin(taken);
  let takesOver = dice.chance(0.5);
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted();
    if (attempt > ATTEMPTS_MAX) throw new Violation(`${idOf(taken)} of ${taken.volume} is not committed in ${ATTEMPTS_MAX} attempts`);
    counts.attempts++;
    armReceiver(scene, dice);
    const order = { kind: 'send' as const, snapshot: idOf(taken), owner: `main ${idOf(taken)}`, attempt, takesOver, proof };
    const end = await sender.send({ ...order, kill: senderKill(scene, dice) }, script.awayMs ?? 0);
    if (end.kind === 'committed') {
      note(`${taken.volume} ${idOf(taken)} is committed by attempt ${attempt}: ${end.figures.sent} values, ${end.figures.rounds} rounds`);
      counts.sessions++;
      await promises.commit(taken, end.root);
      if (script.kind === 'loss') promises.demandFigures(taken, end.figures);
      return;
    }
    if (end.kind === 'killed') continue;
    note(`${taken.volume} ${idOf(taken)}, attempt ${attempt}: ${end.code} ${end.message}`);
    judgeFailure(scene, end);
    takesOver ||= end.code === 'CLAIM_LOST';
  }
}

/** A second sender of the lineage, who takes it over: of the two one wins, or both are told of the same snapshot. */
async function sendAsRival(scene: Scene, rival: SenderProcess, taken: Taken, dice: Dice): Promise<void> {
  const { script, counts, promises, note } = scene;
  await dice.pause(0, 250);
  await promises.begin(taken);
  counts.rivals++;
  const order = { kind: 'send' as const, snapshot: idOf(taken), owner: 'rival', attempt: 1, takesOver: true, proof: script.proof };
  const end = await rival.send({ ...order, kill: null }, script.awayMs ?? 0);
  note(`the rival with ${idOf(taken)}: ${end.kind === 'failed' ? `${end.code} ${end.message}` : end.kind}`);
  if (end.kind === 'committed') await promises.commit(taken, end.root);
  else if (end.kind === 'failed') judgeFailure(scene, end);
}

/** Of what an attempt may end with: its receiver is away; another one has taken over; what is lost is lost again and again. */
function judgeFailure(
  { script, promises, failures, counts }: Scene,
  { code, message }: { readonly code: string; readonly message: string },
): void {
  failures.set(code, (failures.get(code) ?? 0) + 1);
  if (code === 'CLAIM_LOST') counts.fenced++;
  const isNamed =
    code === 'RECEIVER_UNREACHABLE' ||
    (code === 'CLAIM_LOST' && script.rival !== null) ||
    (code === 'MISSING_EXTENTS' && promises.isHarmed);
  if (!isNamed) throw new Violation(`an attempt ended with ${code}, for which there is no reason: ${message}`);
}

// -- troubles -------------------------------------------------------------------------------------------------------

const killsAt = (kills: ReadonlyMap<string, number>, side: string): number =>
  [...kills].reduce((sum, [point, count]) => sum + (point.startsWith(side) ? count : 0), 0);

function killAt(points: readonly string[], only: string | null, dice: Dice): Kill | null {
  const among = only === null ? points : points.filter((point) => point === only);
  return among.length === 0 ? null : { point: dice.pick(among), nth: dice.pick([1, 1, 1, 2, 3]) };
}

function senderKill({ script, kills, isCalm, point }: Scene, dice: Dice): Kill | null {
  const kill = killAt(SENDER_POINTS, point, dice);
  return !isCalm && killsAt(kills, 'sender') < script.senderKillsMost && dice.chance(0.7) ? kill : null;
}

function armReceiver({ script, kills, isCalm, point, receiver }: Scene, dice: Dice): void {
  const kill = killAt(RECEIVER_POINTS, point, dice);
  if (!isCalm && killsAt(kills, 'receiver') < script.receiverKillsMost) receiver.arm(dice.chance(0.8) ? kill : null);
}

/** The loss test: the snapshot under way when it struck is whole, and was sent with what was new and what was lost. */
async function demandStruck(scene: Scene, taken: Taken, number: number): Promise<void> {
  const { script, promises, counts } = scene;
  const [loss] = script.losses;
  if (script.kind !== 'loss' || taken.volume !== 'a' || loss?.snapshot !== number) return;
  if (!promises.isHarmed) throw new Violation('nothing was harmed in a loss test');
  const { lost, again } = await promises.demandBytes(taken);
  counts.namesLost += lost;
  counts.pushedAgain += again;
  await promises.demandWhole(taken);
}
