/**
 * Whether a store keeps the guarantees, tried on the store itself before anything is entrusted to it.
 *
 * `holdfast store add` runs this. The point is the race: of N puts-if-absent to one new name, each with bytes of its own,
 * exactly one may be told 'created', and its bytes must be those that are there. Servers are known that check before the
 * body is read and then overwrite; on such a store the log would lose records, so it is refused whatever its documents say.
 *
 * Works below `probe/<nonce>/` and removes what it put. A store that does not answer is not judged: that error is thrown.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { listAll, type ObjectStore } from './object-store.ts';
import type { LifecycleFinding } from './s3-lifecycle.ts';

export interface AdmissionOptions {
  readonly rounds?: number;
  readonly racers?: number;
  readonly bodyBytes?: number;
  /** What the store's own rules would do; absent: it has none. 'denied': they may not be read. */
  readonly lifecycle?: () => Promise<LifecycleFinding | 'denied'>;
  /** Names the probe's objects. */
  readonly nonce?: string;
  readonly signal?: AbortSignal;
}

export interface AdmissionCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface AdmissionReport {
  readonly ok: boolean;
  readonly checks: readonly AdmissionCheck[];
}

const ROUNDS_DEFAULT = 20;
const RACERS_DEFAULT = 16;
/** Long enough that bodies are still arriving when the next put begins. */
const BODY_BYTES_DEFAULT = 64 * 1024;

interface Probe {
  readonly store: ObjectStore;
  readonly prefix: string;
  readonly bodyBytes: number;
  readonly call: { readonly signal?: AbortSignal };
}

/** What was found; `fail` ends a check with what is wrong. */
type Check = (probe: Probe) => Promise<string>;
class CheckFailed extends Error {}
const demand = (condition: boolean, otherwise: string): void => {
  if (!condition) throw new CheckFailed(otherwise);
};

export async function admitStore(store: ObjectStore, options: AdmissionOptions = {}): Promise<AdmissionReport> {
  const {
    rounds = ROUNDS_DEFAULT,
    racers = RACERS_DEFAULT,
    bodyBytes = BODY_BYTES_DEFAULT,
    lifecycle,
    nonce = randomUUID(),
    signal,
  } = options;
  const probe: Probe = { store, prefix: `probe/${nonce}/`, bodyBytes, call: signal === undefined ? {} : { signal } };
  const planned: readonly (readonly [string, Check])[] = [
    ['one winner among racers', (it) => race(it, rounds, racers)],
    ['what was put is read at once', readAfterWrite],
    ['what was put is listed at once', listAfterWrite],
    ['ranges are read', rangeRead],
    ['what exists is not overwritten', overwriteRefused],
    ['what was deleted is gone', deleted],
    ['no rule of the bucket deletes', () => judgeRules(lifecycle)],
  ];
  const checks: AdmissionCheck[] = [];
  try {
    for (const [name, check] of planned) checks.push(await run(name, check, probe));
  } finally {
    await removeProbe(probe);
  }
  return { ok: checks.every((check) => check.ok), checks };
}

/** Throws STORE_UNFIT with the findings of a report that is not ok. */
export function requireAdmitted(report: AdmissionReport, url: string): void {
  if (report.ok) return;
  const findings = report.checks.filter((check) => !check.ok).map((check) => `${check.name}: ${check.detail}`);
  throw new HoldfastError('STORE_UNFIT', `${url} cannot be used: ${findings.join('; ')}`, { url, findings });
}

async function run(name: string, check: Check, probe: Probe): Promise<AdmissionCheck> {
  try {
    return { name, ok: true, detail: await check(probe) };
  } catch (error) {
    if (error instanceof CheckFailed) return { name, ok: false, detail: error.message };
    if (isHoldfastError(error) && !error.retryable) return { name, ok: false, detail: `${error.code}: ${error.message}` };
    throw error;
  }
}

async function race({ store, prefix, bodyBytes, call }: Probe, rounds: number, racers: number): Promise<string> {
  for (let round = 1; round <= rounds; round++) {
    const name = `${prefix}race/${round}`;
    const bodies = Array.from({ length: racers }, () => randomBytes(bodyBytes));
    const answers = await Promise.all(bodies.map((body) => store.put(name, body, { ...call, ifAbsent: true })));
    const winners = answers.flatMap((answer, racer) => (answer === 'created' ? [racer] : []));
    demand(winners.length === 1, `round ${round}: ${winners.length} of ${racers} racers were told that they created the object`);
    const there = await store.get(name, call);
    const isWinners = there !== null && bodies[winners[0] ?? 0]?.equals(there) === true;
    demand(isWinners, `round ${round}: the object does not hold the bytes of the one that created it`);
  }
  return `${rounds} rounds of ${racers}`;
}

async function readAfterWrite({ store, prefix, bodyBytes, call }: Probe): Promise<string> {
  for (let round = 1; round <= 5; round++) {
    const name = `${prefix}read/${round}`;
    const body = randomBytes(bodyBytes);
    demand((await store.get(name, call)) === null, `${name} is there before it was put`);
    await store.put(name, body, call);
    demand((await store.get(name, call))?.equals(body) === true, 'a get right after a put does not return its bytes');
    demand((await store.head(name, call))?.sizeBytes === bodyBytes, 'a head right after a put does not tell its size');
  }
  return 'found each time';
}

async function listAfterWrite({ store, prefix, call }: Probe): Promise<string> {
  // Case counts, and the order is that of whole names.
  const names = ['B', 'a-b', 'a/b', 'a/c', 'a0', 'b'].map((name) => `${prefix}list/${name}`);
  for (const name of names.toReversed()) {
    await store.put(name, randomBytes(1), call);
    const listed = (await store.list(name, call)).map((object) => object.name);
    demand(listed.includes(name), `${name} is not listed right after it was put`);
  }
  const listed = (await store.list(`${prefix}list/`, call)).map((object) => object.name);
  demand(listed.join() === names.join(), `the list is not complete or not in the order of bytes: ${listed.join(', ')}`);
  const after = (await store.list(`${prefix}list/`, { ...call, after: names[1] ?? '', limit: 2 })).map((object) => object.name);
  demand(after.join() === names.slice(2, 4).join(), `a page does not begin where it was asked to: ${after.join(', ')}`);
  return 'complete and in order';
}

async function rangeRead({ store, prefix, bodyBytes, call }: Probe): Promise<string> {
  const name = `${prefix}range`;
  const body = randomBytes(bodyBytes);
  await store.put(name, body, call);
  for (const [offset, length] of [
    [0, 1],
    [7, 100],
    [bodyBytes - 10, 1000],
    [bodyBytes + 10, 10],
  ] as const) {
    const got = await store.get(name, { ...call, range: { offset, length } });
    const matches = got?.equals(body.subarray(offset, offset + length)) === true;
    demand(matches, `bytes ${offset} to ${offset + length - 1} are not those that were put there`);
  }
  return 'right bytes';
}

async function overwriteRefused({ store, prefix, call }: Probe): Promise<string> {
  const name = `${prefix}taken`;
  await store.put(name, Buffer.from('first'), { ...call, ifAbsent: true });
  const answer = await store.put(name, Buffer.from('second'), { ...call, ifAbsent: true });
  demand(answer === 'exists', 'a put-if-absent to a taken name is told that it created the object');
  demand((await store.get(name, call))?.toString() === 'first', 'a put-if-absent replaced what was there');
  return 'refused';
}

async function deleted({ store, prefix, call }: Probe): Promise<string> {
  const names = ['one', 'two', 'never-was'].map((name) => `${prefix}delete/${name}`);
  for (const name of names.slice(0, 2)) await store.put(name, randomBytes(1), call);
  await store.delete(names, call);
  for (const name of names) demand((await store.get(name, call)) === null, `${name} is there after it was deleted`);
  demand((await store.list(`${prefix}delete/`, call)).length === 0, 'a deleted object is listed');
  return 'gone';
}

async function judgeRules(lifecycle: AdmissionOptions['lifecycle']): Promise<string> {
  if (lifecycle === undefined) return 'there are none';
  const finding = await lifecycle();
  if (finding === 'denied') return 'warning: the credentials may not read the rules; make sure that none expires objects of this store';
  demand(finding.refused.length === 0, `these expire objects of this store: ${finding.refused.join(', ')}`);
  return finding.warnings.length === 0
    ? 'none that reaches this store'
    : `warning: these move objects elsewhere: ${finding.warnings.join(', ')}`;
}

async function removeProbe({ store, prefix }: Probe): Promise<void> {
  const names: string[] = [];
  for await (const { name } of listAll(store, prefix)) names.push(name);
  for (let from = 0; from < names.length; from += 1000) await store.delete(names.slice(from, from + 1000));
}
