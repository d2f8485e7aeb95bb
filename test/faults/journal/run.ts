/**
 * One run: a group is protected and loaded, while its server is killed, its stores misbehave and its clock jumps, as the script says; in the end
 * it is its owner's still, or somebody takes it over. Then all of it is examined.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Patch } from '../../simulation/patches.ts';
import type { FaultServer } from '../server.ts';
import { diceOf } from '../volumes/dice.ts';
import { messageOf, Violation } from '../volumes/violation.ts';
import type { ProtectionWorld } from '../../systems/protection/protection-world.ts';
import { noCounts, type Counts } from './counts.ts';
import { loseMachine } from './durable.ts';
import { end } from './endings.ts';
import { disksOf, groupOf, raiseSite, type Scene, type Seen, type Site } from './scene.ts';
import { writeScript, type Spell } from './script.ts';
import { CALM } from './store-link.ts';
import { makeWorld, type HostLinks } from './world.ts';

export interface RunOptions {
  readonly seed: number;
  /** Safeguards taken out of the first host. */
  readonly patches?: readonly Patch[];
  /** Whether fio may be a client. */
  readonly withFio: boolean;
  readonly server: FaultServer;
  readonly trace: (line: string) => void;
}

export interface RunReport {
  readonly counts: Counts;
  /** What did not hold; null: all did. */
  readonly violation: string | null;
  /** Somebody judged so: nothing else went wrong. */
  readonly isJudged: boolean;
}

/** Ten times what one takes, and more. */
const HANGS_AFTER_MS = 240_000;
const LOOK_MS = 60;
const OPENS_WITHIN_MS = 1500;

export async function playRun({ seed, server, trace, withFio, patches = [] }: RunOptions): Promise<RunReport> {
  const begunMs = performance.now();
  const note = (line: string): void => trace(`${((performance.now() - begunMs) / 1000).toFixed(3).padStart(8)}  ${line}`);
  const written = writeScript(seed);
  const script = { ...written, fio: written.fio && withFio };
  const counts = noCounts();
  const violated = Promise.withResolvers<never>();
  violated.promise.catch(() => undefined);
  note(JSON.stringify(script));
  await using world = makeWorld({ seed, server, otherClockMs: script.otherClockMs }, (mishap) => void counts[mishap]++);
  const hangs = setTimeout(() => violated.reject(new Violation(`it takes longer than ${HANGS_AFTER_MS} ms`)), HANGS_AFTER_MS);
  const raise = (name: string): Promise<Site> =>
    raiseSite({ script, world, name, note, onViolation: (error) => violated.reject(error), patches: name === 'n1' ? patches : [] });
  const sites: Site[] = [];
  try {
    sites.push(...(await Promise.all(['n1', ...(script.ending.kind === 'rival' ? ['n2'] : [])].map(raise))));
    const [one, two = null] = sites;
    if (one === undefined) throw new Error('no site');
    const scene: Scene = {
      ...{ script, world, server, counts, note, one, two, sizes: disksOf(script).map(({ sizeBytes }) => sizeBytes) },
      ...{ dice: diceOf(seed, 'run'), seen: { closed: 0, acknowledged: 0 } },
    };
    await Promise.race([play(scene), violated.promise]);
    return { counts, violation: null, isJudged: false };
  } catch (error) {
    note(`VIOLATION ${messageOf(error)}`);
    const isJudged = error instanceof Violation;
    return { counts, isJudged, violation: isJudged || !(error instanceof Error) ? messageOf(error) : (error.stack ?? error.message) };
  } finally {
    clearTimeout(hangs);
    await Promise.all(sites.flatMap(({ node, loader }) => [node.kill(), loader.kill()]));
    for (const { fio } of sites) await fio?.kill();
    await world.settled();
  }
}

async function play(scene: Scene): Promise<void> {
  const { script, one, seen } = scene;
  for (const { name, sizeBytes } of disksOf(script)) await one.host.attach(name, sizeBytes);
  await one.host.host.disks.protect(groupOf(scene, one.host));
  one.loader.load();
  if (one.fio !== null) {
    one.fio.load();
    scene.counts.fio++;
  }
  const troubles = new AbortController();
  const looking = look(one.host, seen, troubles.signal);
  await Promise.all([
    ...script.spells.map((spell) => blow(one.links, spell, scene)),
    ...script.jumps.map(async ({ atMs, offsetMs }) => {
      await sleep(atMs);
      one.node.jump(offsetMs);
      scene.counts.jumps++;
    }),
    ...script.strikes.map((atMs) => striking(scene, atMs)),
    killing(scene),
  ]);
  troubles.abort();
  await looking;
  await end(scene);
}

async function striking({ server, counts, note }: Scene, atMs: number): Promise<void> {
  await sleep(atMs);
  note('the S3 server is killed');
  counts.strikes++;
  await server.strike();
  note('the S3 server is back');
}

async function killing({ script, one, counts, dice, note }: Scene): Promise<void> {
  const begunMs = performance.now();
  const until = (atMs: number): Promise<void> => sleep(Math.max(0, begunMs + atMs - performance.now()));
  for (const { atMs, machine } of script.kills) {
    await until(atMs);
    await one.node.kill();
    one.fio?.cut();
    counts.kills++;
    if (machine) {
      note('its machine is lost');
      counts.machines++;
      await one.loader.lose();
      loseMachine(
        one.host.folder,
        disksOf(script).map(({ name }) => name),
        dice,
      );
    }
    await dice.pause(0, 200);
    await one.node.start();
    await opened(one.host);
    await dice.pause(100, 400);
  }
  await until(script.loadMs);
}

/** Waits until the disks are served, for a while: their stores may be away. */
async function opened({ host }: ProtectionWorld): Promise<void> {
  for (const until = performance.now() + OPENS_WITHIN_MS; performance.now() < until; await sleep(LOOK_MS))
    if ((await host.disks.protection()).some(({ state }) => state !== 'OPENING')) return;
}

/** A spell that does not end by itself is ended by who calms everything. */
async function blow(links: HostLinks, { fromMs, forMs, stores, weather }: Spell, { note }: Scene): Promise<void> {
  await sleep(fromMs);
  note(`${stores.join(', ')}: ${JSON.stringify(weather)}`);
  links.turn(stores, weather);
  if (forMs === Infinity) return;
  await sleep(forMs);
  links.turn(stores, CALM);
}

/** What the owner says of itself, again and again: it may be dead. */
async function look(host: ProtectionWorld, seen: Seen, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const [status] = await host.host.disks.protection().catch(() => []);
    seen.closed = Math.max(seen.closed, status?.closed ?? 0);
    seen.acknowledged = Math.max(seen.acknowledged, status?.acknowledged ?? 0);
    await sleep(LOOK_MS);
  }
}
