/**
 * The scheduler: every call that any process makes to a store is a point where anything may happen.
 *
 * A call is a promise that stays pending until the scheduler picks it. Then it takes effect in one instant, or goes wrong
 * as calls do: fails, loses its answer, arrives long after its caller has given up, arrives twice, deletes half of what it
 * was told. Meanwhile a process may vanish (its calls are never answered, which is what a crash at an await is) or freeze
 * and go on much later with what it believed. All of it is drawn from one seeded source. After each answer the microtasks
 * run until every process waits for a call again, so the order of promises adds no chance of its own.
 */
import { HoldfastError } from '../../src/domain/errors.ts';
import type { ObjectStore } from '../../src/ground/stores/object-store.ts';
import type { Objects } from './objects.ts';
import type { Random } from './random.ts';

/** Chances a call or a step. */
export interface Faults {
  /** Refused with a retryable error, without effect: 409, 503, a reset connection. */
  readonly fails: number;
  /** Took effect, but the caller is told STORE_UNREACHABLE. */
  readonly losesAnswer: number;
  /** The caller is told STORE_UNREACHABLE, and it takes effect later. */
  readonly comesLate: number;
  readonly comesTwice: number;
  readonly kills: number;
  readonly freezes: number;
  /** Steps that a frozen process misses, or a late call takes, at the most. */
  readonly stepsLost: number;
}

/** A store as the processes of a run meet it. One that is away takes no calls; one that is gone has lost what it held, for good. */
export interface Place {
  readonly objects: Objects;
  /** Put before names in a trace; empty where there is one store only. */
  readonly label: string;
  condition(): 'here' | 'away' | 'gone';
  /** Steps that a call takes at the least; without it they are all alike. */
  readonly delay?: () => number;
}

interface Call {
  readonly what: string;
  /** Where it goes; null: a nap. */
  readonly place: Place | null;
  readonly effect: () => unknown;
  /** For calls that change the store: what takes effect when the call is cut short. */
  readonly half: (() => void) | null;
  readonly readyAt: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export interface Process {
  readonly name: string;
  /** A store as this process reaches it. */
  reach(place: Place): ObjectStore;
  /** Waits this many steps or more. */
  nap(steps: number): Promise<void>;
  alive(): boolean;
}

export interface Scheduler {
  now(): number;
  spawn(name: string): Process;
  /** One step; false when no process had a call to answer. */
  step(): Promise<boolean>;
  /** From now on nothing goes wrong by itself; what is late arrives. */
  stopFaults(): void;
  end(process: Process): void;
}

/** Share of changes to a store that is away which take effect when it is back. */
const LANDS_LATER = 0.4;

interface Running extends Process {
  readonly pending: Call[];
  frozenUntil: number;
  dead: boolean;
}

export interface SchedulerOptions {
  readonly random: Random;
  readonly faults: Faults;
  /** Every so often a process dies; its owner wants to know. */
  readonly onDeath: (process: Process) => void;
  readonly count: (what: string) => void;
  readonly trace: ((line: string) => void) | null;
}

export function createScheduler({ random, faults, onDeath, count, trace }: SchedulerOptions): Scheduler {
  let now = 0;
  let faulty = true;
  let processes: Running[] = [];
  let late: { readonly at: number; readonly what: string; readonly effect: () => unknown }[] = [];
  const say = trace === null ? () => undefined : (line: () => string) => trace(`${String(now).padStart(6)} ${line()}`);

  const spawn = (name: string): Process => {
    const pending: Call[] = [];
    const ask = <T>(place: Place | null, what: string, effect: () => T, half: (() => void) | null = null, readyAt = 0): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        pending.push({ place, what, effect, half, readyAt, resolve: (value) => resolve(value as T), reject });
      });
    const running: Running = {
      name,
      pending,
      frozenUntil: 0,
      dead: false,
      alive: () => !running.dead,
      nap: (steps) => ask(null, 'nap', () => undefined, null, now + steps),
      reach: (place) => storeOf(place, (what, effect, half) => ask(place, what, effect, half, now + (place.delay?.() ?? 0)), random),
    };
    processes.push(running);
    return running;
  };

  const unreachable = (what: string): HoldfastError => new HoldfastError('STORE_UNREACHABLE', `simulated: ${what}`);
  const postpone = ({ place, what, effect }: Call): void =>
    void late.push({
      at: now + random.between(2, faults.stepsLost),
      what,
      effect: () => (place?.condition() === 'gone' ? undefined : effect()),
    });

  const answer = (process: Running, call: Call): void => {
    const line = (how: string) => say(() => `${process.name} ${call.what}${how}`);
    const changes = call.half !== null;
    const condition = call.place?.condition() ?? 'here';
    if (condition !== 'here') {
      line(`: ${condition}`);
      // Sent before it went away, or put into a queue that outlives it.
      if (condition === 'away' && changes && random.chance(LANDS_LATER)) postpone(call);
      return call.reject(unreachable(call.what));
    }
    const dice = faulty && call.place !== null ? random.next() : 1;
    let bound = faults.fails;
    if (dice < bound) {
      line(': refused');
      count('calls refused');
      return call.reject(unreachable(call.what));
    }
    if (changes && dice < (bound += faults.losesAnswer)) {
      line(': done, answer lost');
      count('answers lost');
      if (random.chance(0.7)) call.effect();
      else call.half?.();
      return call.reject(unreachable(call.what));
    }
    if (changes && dice < (bound += faults.comesLate)) {
      line(': comes late');
      count('calls late');
      postpone(call);
      return call.reject(unreachable(call.what));
    }
    if (changes && dice < bound + faults.comesTwice) {
      line(': comes twice');
      count('calls doubled');
      postpone(call);
    } else line('');
    call.resolve(call.effect());
  };

  const kill = (process: Running): void => {
    say(() => `${process.name} vanishes`);
    count('processes killed');
    process.dead = true;
    for (const call of process.pending) if (call.half && random.chance(0.3)) postpone(call);
    process.pending.length = 0;
    processes = processes.filter((one) => one !== process);
    onDeath(process);
  };

  return {
    now: () => now,
    spawn,
    async step() {
      now++;
      for (const one of late.filter(({ at }) => at <= now)) {
        late = late.filter((other) => other !== one);
        say(() => `late ${one.what}`);
        one.effect();
      }
      const ready = processes.filter((one) => one.frozenUntil <= now && one.pending.some((call) => call.readyAt <= now));
      if (ready.length === 0) return false;
      const process = random.pick(ready);
      if (faulty) {
        const dice = random.next();
        if (dice < faults.kills) {
          kill(process);
          return true;
        }
        if (dice < faults.kills + faults.freezes) {
          process.frozenUntil = now + random.between(10, faults.stepsLost);
          say(() => `${process.name} freezes until ${process.frozenUntil}`);
          count('processes frozen');
          return true;
        }
      }
      const call = random.pick(process.pending.filter(({ readyAt }) => readyAt <= now));
      process.pending.splice(process.pending.indexOf(call), 1);
      answer(process, call);
      await settled();
      return true;
    },
    stopFaults() {
      faulty = false;
      for (const process of processes) process.frozenUntil = 0;
      for (const one of late.splice(0)) one.effect();
    },
    end(process) {
      processes = processes.filter((one) => one !== process);
    },
  };
}

type Ask = <T>(what: string, effect: () => T, half?: () => void) => Promise<T>;

/** The calls of the contract, each an instant effect that waits for its turn. */
function storeOf({ objects, label }: Place, ask: Ask, random: Random): ObjectStore {
  const named = (call: string, object: string): string => `${call} ${label}${object}`;
  return {
    put: (object, bytes, options = {}) => {
      const copy = Buffer.from(bytes);
      const put = () => objects.put(object, copy, options);
      return ask(named('put', object), put, put);
    },
    get: (object, options = {}) => ask(named('get', object), () => objects.get(object, options.range)),
    head: (object) =>
      ask(named('head', object), () => {
        const bytes = objects.byName.get(object);
        return bytes ? { name: object, sizeBytes: bytes.length } : null;
      }),
    list: (prefix, options = {}) => ask(named('list', prefix), () => objects.list(prefix, options)),
    delete: (names) =>
      ask(
        named('delete', names.join(' ')),
        () => objects.delete(names),
        () => objects.delete(names.filter(() => random.chance(0.5))),
      ),
    describe: () => objects.instant.describe(),
  };
}

/** Resolves when all microtasks have run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
