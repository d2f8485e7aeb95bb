/**
 * A store that misbehaves on purpose, for tests: what stores really do to those who rely on them, one fault at a time.
 *
 * A plan decides for each call: by what it is (the third put of `log/...7`) or by seeded chance, in which case the seed is the
 * whole test case. The faults keep within the contract, as a real store would (unclear answers, outages, late effects),
 * except `flip` and `missing`, which are those of a store that lost or damaged what it kept.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { StoreCall, StoreOperation } from './intercept.ts';
import type { ObjectStore } from './object-store.ts';
import { sleep, type Sleep } from './sleep.ts';

export type Fault =
  /** Took effect; the answer was lost. */
  | { readonly kind: 'lost-answer' }
  /** Never arrived (a 503, a refused connection). */
  | { readonly kind: 'unavailable' }
  /** The caller is told that it is unclear; the call takes effect only later. */
  | { readonly kind: 'late'; readonly afterMs: number }
  | { readonly kind: 'delay'; readonly ms: number }
  /** A delete that removes the first half of the names, and fails. */
  | { readonly kind: 'partial-delete' }
  /** One bit of what a get returns is another. */
  | { readonly kind: 'flip' }
  /** A get or head finds nothing. */
  | { readonly kind: 'missing' }
  | { readonly kind: 'full' };
export type FaultKind = Fault['kind'];

export interface CountedCall {
  readonly operation: StoreOperation;
  readonly name: string;
  /** 1 for the first call of this operation with this name. */
  readonly count: number;
}
export type FaultPlan = (call: CountedCall) => Fault | undefined;

export interface FaultyStore extends ObjectStore {
  /** Waits until what was to land late has landed. */
  settled(): Promise<void>;
  injected(): Readonly<Partial<Record<FaultKind, number>>>;
}

export function withFaults(store: ObjectStore, plan: FaultPlan, { sleep: pause = sleep }: { readonly sleep?: Sleep } = {}): FaultyStore {
  const counts = new Map<string, number>();
  const injected: Partial<Record<FaultKind, number>> = {};
  const late = new Set<Promise<unknown>>();

  const faultOf = ({ operation, name }: StoreCall): Fault | undefined => {
    const key = `${operation} ${name}`;
    const count = (counts.get(key) ?? 0) + 1;
    counts.set(key, count);
    const fault = plan({ operation, name, count });
    if (fault !== undefined) injected[fault.kind] = (injected[fault.kind] ?? 0) + 1;
    return fault;
  };

  const unclear = ({ operation, name }: StoreCall, what: string): HoldfastError =>
    new HoldfastError('STORE_UNREACHABLE', `${operation} of ${name}: ${what} (injected)`, { operation, name });

  const landLater = (afterMs: number, run: () => Promise<unknown>): void => {
    // What becomes of it is nobody's to know: the caller has long been answered.
    const landing = pause(afterMs)
      .then(run)
      .catch(() => undefined);
    late.add(landing);
    void landing.finally(() => late.delete(landing));
  };

  /** Everything but the faults that change what is asked or answered. */
  const faulted = async <T>(fault: Fault | undefined, call: StoreCall, run: () => Promise<T>): Promise<T> => {
    call.signal?.throwIfAborted();
    switch (fault?.kind) {
      case 'lost-answer':
        await run();
        throw unclear(call, 'the answer was lost');
      case 'unavailable':
        throw unclear(call, 'not available');
      case 'late':
        landLater(fault.afterMs, run);
        throw unclear(call, 'timed out');
      case 'full':
        throw new HoldfastError('STORE_FULL', `${call.operation} of ${call.name}: full (injected)`, { name: call.name });
      case 'delay':
        await pause(fault.ms, call.signal);
        return await run();
      default:
        return await run();
    }
  };

  const call = (operation: StoreOperation, name: string, signal: AbortSignal | undefined, sentBytes = 0): StoreCall => ({
    operation,
    name,
    sentBytes,
    signal,
  });

  return {
    async put(name, bytes, options = {}) {
      const asked = call('put', name, options.signal, bytes.byteLength);
      const fault = faultOf(asked);
      // The caller may use its buffer again, and give up its signal, before a late put lands.
      const { signal: _, ...lasting } = options;
      return fault?.kind === 'late'
        ? await faulted(
            fault,
            asked,
            (
              (copy) => () =>
                store.put(name, copy, lasting)
            )(Buffer.from(bytes)),
          )
        : await faulted(fault, asked, () => store.put(name, bytes, options));
    },
    async get(name, options) {
      const asked = call('get', name, options?.signal);
      const fault = faultOf(asked);
      const bytes = await faulted(fault, asked, () => store.get(name, options));
      if (fault?.kind === 'missing') return null;
      if (fault?.kind !== 'flip' || bytes === null || bytes.byteLength === 0) return bytes;
      const flipped = Buffer.from(bytes);
      const at = flipped.byteLength >>> 1;
      flipped.writeUInt8(flipped.readUInt8(at) ^ 1, at);
      return flipped;
    },
    async head(name, options) {
      const asked = call('head', name, options?.signal);
      const fault = faultOf(asked);
      const info = await faulted(fault, asked, () => store.head(name, options));
      return fault?.kind === 'missing' ? null : info;
    },
    async list(prefix, options) {
      const asked = call('list', prefix, options?.signal);
      return await faulted(faultOf(asked), asked, () => store.list(prefix, options));
    },
    async delete(names, options) {
      const asked = call('delete', names[0] ?? '', options?.signal);
      const fault = faultOf(asked);
      if (fault?.kind !== 'partial-delete') return await faulted(fault, asked, () => store.delete(names, options));
      await store.delete(names.slice(0, names.length >>> 1), options);
      throw unclear(asked, 'broke off half way');
    },
    describe: () => store.describe(),
    settled: async () => {
      while (late.size > 0) await Promise.all(late);
    },
    injected: () => ({ ...injected }),
  };
}

export interface FaultChances {
  readonly seed: number;
  /** Of each kind, the chance that a call suffers it; their sum is at most 1. */
  readonly chances: Readonly<Partial<Record<FaultKind, number>>>;
  readonly operations?: readonly StoreOperation[];
  /** The most that a delay takes, and that a late call is late by. */
  readonly delayMsMax?: number;
}

/** Faults by chance, the same ones for the same seed and the same order of calls. */
export function seededFaults({ seed, chances, operations, delayMsMax = 20 }: FaultChances): FaultPlan {
  const random = seededRandom(seed);
  return ({ operation }) => {
    const roll = random();
    const ms = Math.floor(random() * delayMsMax);
    if (operations !== undefined && !operations.includes(operation)) return undefined;
    let bound = 0;
    for (const kind of FAULT_KINDS) {
      bound += chances[kind] ?? 0;
      if (roll < bound) return kind === 'late' ? { kind, afterMs: ms } : kind === 'delay' ? { kind, ms } : { kind };
    }
    return undefined;
  };
}

const FAULT_KINDS = [
  'lost-answer',
  'unavailable',
  'late',
  'delay',
  'partial-delete',
  'flip',
  'missing',
  'full',
] as const satisfies FaultKind[];

/** Numbers from 0 up to 1 (mulberry32): small, fast and the same everywhere, which is all that a test asks. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
