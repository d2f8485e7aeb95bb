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

interface Call {
  readonly what: string;
  readonly effect: () => unknown;
  /** For calls that change the store: what takes effect when the call is cut short. */
  readonly half: (() => void) | null;
  readonly readyAt: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export interface Process {
  readonly name: string;
  readonly store: ObjectStore;
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

interface Running extends Process {
  readonly pending: Call[];
  frozenUntil: number;
  dead: boolean;
}

export interface SchedulerOptions {
  readonly random: Random;
  readonly objects: Objects;
  readonly faults: Faults;
  /** Every so often a process dies; its owner wants to know. */
  readonly onDeath: (process: Process) => void;
  readonly count: (what: string) => void;
  readonly trace: ((line: string) => void) | null;
}

export function createScheduler({ random, objects, faults, onDeath, count, trace }: SchedulerOptions): Scheduler {
  let now = 0;
  let faulty = true;
  let processes: Running[] = [];
  let late: { readonly at: number; readonly what: string; readonly effect: () => unknown }[] = [];
  const say = trace === null ? () => undefined : (line: () => string) => trace(`${String(now).padStart(6)} ${line()}`);

  const spawn = (name: string): Process => {
    const pending: Call[] = [];
    const ask = <T>(what: string, effect: () => T, half: (() => void) | null = null, readyAt = 0): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        pending.push({ what, effect, half, readyAt, resolve: (value) => resolve(value as T), reject });
      });
    const running: Running = {
      name,
      pending,
      frozenUntil: 0,
      dead: false,
      alive: () => !running.dead,
      nap: (steps) => ask('nap', () => undefined, null, now + steps),
      store: {
        put: (object, bytes, options = {}) => {
          const copy = Buffer.from(bytes);
          const put = () => objects.put(object, copy, options);
          return ask(`put ${object}`, put, put);
        },
        get: (object, options = {}) => ask(`get ${object}`, () => objects.get(object, options.range)),
        head: (object) =>
          ask(`head ${object}`, () => {
            const bytes = objects.byName.get(object);
            return bytes ? { name: object, sizeBytes: bytes.length } : null;
          }),
        list: (prefix, options = {}) => ask(`list ${prefix}`, () => objects.list(prefix, options)),
        delete: (names) =>
          ask(
            `delete ${names.join(' ')}`,
            () => objects.delete(names),
            () => objects.delete(names.filter(() => random.chance(0.5))),
          ),
        describe: () => objects.instant.describe(),
      },
    };
    processes.push(running);
    return running;
  };

  const unreachable = (what: string): HoldfastError => new HoldfastError('STORE_UNREACHABLE', `simulated: ${what}`);
  const postpone = (what: string, effect: () => unknown): void =>
    void late.push({ at: now + random.between(2, faults.stepsLost), what, effect });

  const answer = (process: Running, call: Call): void => {
    const line = (how: string) => say(() => `${process.name} ${call.what}${how}`);
    const changes = call.half !== null;
    const dice = faulty && call.what !== 'nap' ? random.next() : 1;
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
      postpone(call.what, call.effect);
      return call.reject(unreachable(call.what));
    }
    if (changes && dice < bound + faults.comesTwice) {
      line(': comes twice');
      count('calls doubled');
      postpone(call.what, call.effect);
    } else line('');
    call.resolve(call.effect());
  };

  const kill = (process: Running): void => {
    say(() => `${process.name} vanishes`);
    count('processes killed');
    process.dead = true;
    for (const call of process.pending) if (call.half && random.chance(0.3)) postpone(call.what, call.effect);
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

/** Resolves when all microtasks have run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
