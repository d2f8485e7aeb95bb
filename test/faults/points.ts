/**
 * The points at which a process is killed: a table of (phase, store call, kind of object), and the trap that springs there.
 *
 * Every durable effect of the product is a store call, so "before, during or after the n-th put of a log record" names each
 * step between which the protocol says what a crash leaves. `during` starts the call and kills within milliseconds, while its
 * body is on its way. A trap may strike the store's server instead of the process: then the call and those after it fail.
 */
import { parseClaimObject } from '../../src/engine/repository/object-names.ts';
import type { StoreCall, StoreOperation } from '../../src/ground/stores/intercept.ts';

export type Phase = 'before' | 'during' | 'after';
type ObjectKind = 'header' | 'key slot' | 'log' | 'pack' | 'change' | 'checkpoint part' | 'checkpoint manifest' | 'mirror' | 'other';

export interface Point {
  readonly name: string;
  readonly phase: Phase;
  readonly operation: StoreOperation;
  readonly object: ObjectKind;
}

/** Which objects a call of each kind meets, and in which phases a kill there differs from one elsewhere. */
const TABLE: readonly (readonly [StoreOperation, readonly ObjectKind[], readonly Phase[]])[] = [
  [
    'put',
    ['header', 'key slot', 'log', 'pack', 'change', 'checkpoint part', 'checkpoint manifest', 'mirror'],
    ['before', 'during', 'after'],
  ],
  ['delete', ['pack', 'change', 'checkpoint part', 'checkpoint manifest', 'key slot', 'mirror'], ['before', 'during', 'after']],
  ['get', ['log', 'pack', 'change', 'checkpoint part'], ['after']],
  ['list', ['pack', 'checkpoint manifest', 'checkpoint part', 'key slot'], ['after']],
];

export const POINTS: readonly Point[] = TABLE.flatMap(([operation, objects, phases]) =>
  objects.flatMap((object) => phases.map((phase) => ({ name: `${phase} ${operation} ${object}`, phase, operation, object }))),
);

/** The n-th call, whatever it is: with n by chance every step of an operation is met sooner or later. */
const ANY: readonly Point[] = (['before', 'during', 'after'] as const).map((phase) => ({
  name: `${phase} any`,
  phase,
  operation: 'put',
  object: 'other',
}));
export const ANY_NAMES: readonly string[] = ANY.map(({ name }) => name);

const pointNamed = (name: string): Point => {
  const point = [...POINTS, ...ANY].find((one) => one.name === name);
  if (!point) throw new Error(`no point ${name}; there are: ${POINTS.map((one) => one.name).join(', ')}`);
  return point;
};

export interface Kill {
  readonly point: string;
  /** The n-th call that matches. */
  readonly nth: number;
  /** For `during`: how long the call has been under way. */
  readonly afterMs: number;
  readonly victim: 'process' | 'server';
}

const PREFIXES: readonly (readonly [string, ObjectKind])[] = [
  ['repository.json', 'header'],
  ['keys/', 'key slot'],
  ['log/', 'log'],
  ['checkpoint-part/', 'checkpoint part'],
  ['checkpoint/', 'checkpoint manifest'],
  ['mirror/', 'mirror'],
];

/** What a name or prefix in a store is, whatever repository it lies in. */
export function kindOf(name: string): ObjectKind {
  const inner = name.replace(/^repositories\/[^/]+\//, '');
  const object = parseClaimObject(inner);
  if (object !== null) return object.kind === 'pack' ? 'pack' : 'change';
  if (inner === 'a/' || inner.startsWith('a/')) return 'pack';
  return PREFIXES.find(([prefix]) => inner.startsWith(prefix))?.[1] ?? 'other';
}

export interface Trap {
  /** Stands around one call to a store. */
  around<T>(store: string, call: StoreCall, run: () => Promise<T>): Promise<T>;
}

export interface TrapOptions {
  readonly kill: Kill | null;
  /** Called once, with the name of what was met; for a kill of the process it does not return. */
  readonly spring: (kill: Kill, met: string) => void;
  readonly sleep: (ms: number) => Promise<void>;
  /** Every call, for who counts what was sent. */
  readonly watch: (store: string, call: StoreCall, phase: 'begun' | 'done') => void;
}

export function setTrap({ kill, spring, sleep, watch }: TrapOptions): Trap {
  const point = kill === null ? null : pointNamed(kill.point);
  let seen = 0;
  let sprung = false;
  const isHit = (call: StoreCall): boolean => {
    if (kill === null || point === null || sprung) return false;
    const isAny = ANY.includes(point);
    if (!isAny && (call.operation !== point.operation || kindOf(call.name) !== point.object)) return false;
    seen += 1;
    sprung = seen === kill.nth;
    return sprung;
  };
  return {
    async around(store, call, run) {
      const hit = isHit(call) ? kill : null;
      const met = `${point?.phase} ${call.operation} ${kindOf(call.name)}`;
      if (hit !== null && point?.phase === 'before') spring(hit, met);
      watch(store, call, 'begun');
      const running = run();
      if (hit !== null && point?.phase === 'during') {
        await Promise.race([sleep(hit.afterMs), running.catch(() => undefined)]);
        spring(hit, met);
      }
      const answer = await running;
      watch(store, call, 'done');
      if (hit !== null && point?.phase === 'after') spring(hit, met);
      return answer;
    },
  };
}
