/**
 * Breadth first through everything that can happen, and from each state to an end without further faults.
 *
 * The channel costs nothing: a message or its answer may be lost, be late, be overtaken, and be said again while the first
 * one is still on its way, at every step. Faults (somebody is killed, a value is lost) are counted. A state's way to an end is
 * one schedule: what is late arrives, then the first sender that lives says the first thing that is due.
 */
import { hash } from 'node:crypto';
import { acceptedNames } from '../../../src/engine/replication/receiver.ts';
import { says, STALLED_ROUNDS_MAX } from '../../../src/engine/replication/sender.ts';
import type { Message } from '../../../src/engine/replication/messages.ts';
import type { Fault, Reach, Scenario } from './scenarios.ts';
import {
  at,
  beginSender,
  cloneWorld,
  confirmPacks,
  deliver,
  firstWorld,
  hearAnswer,
  isHeld,
  keyOf,
  namesOf,
  readFor,
  refusePacks,
  restartReceiver,
  Violation,
  type Late,
  type World,
} from './world.ts';

/** A scenario and how much may go wrong in it. */
type Bounded = Scenario & Reach;

interface Step {
  readonly label: string;
  /** Applied to a clone. */
  apply(world: World): void;
}

export interface Exploration {
  readonly states: number;
  /** False: there was more than the bound let see. */
  readonly complete: boolean;
  /** States in which every sender has ended. */
  readonly ended: number;
  readonly committed: number;
  readonly violation: { readonly message: string; readonly trace: readonly string[] } | null;
}

const brief = (message: Message): string => {
  const { kind, ...rest } = message;
  return `${kind} ${JSON.stringify(rest)}`;
};

const isLive = (world: World, i: number, attempt: number): boolean =>
  world.senders[i]?.attempt === attempt && world.senders[i]?.end === null;

// -- what can happen ------------------------------------------------------------------------------------------------

/** A message is said and delivered, and its answer heard, lost or late. */
function* exchanges(scenario: Bounded, world: World, from: number, attempt: number, message: Message): Generator<Step> {
  const answered = (next: World) => deliver(scenario, next, from, message);
  const what = `sender ${from}: ${brief(message)}`;
  if (isLive(world, from, attempt)) yield { label: what, apply: (next) => hearAnswer(scenario, next, from, answered(next)) };
  yield {
    label: `${what}; its answer is lost`,
    apply(next) {
      next.isCalm = false;
      answered(next);
    },
  };
  if (world.late.length < scenario.late && isLive(world, from, attempt))
    yield {
      label: `${what}; its answer is late`,
      apply: (next) => void next.late.push({ from, attempt, message, content: { kind: 'answer', answer: answered(next) } }),
    };
}

/** Data is what it is, whenever it is said; all else by what it says. */
const isSame = (a: Message, b: Message): boolean =>
  a.kind === 'DATA' && b.kind === 'DATA' ? a.name === b.name : JSON.stringify(a) === JSON.stringify(b);

const disturbing = ({ label, apply }: Step): Step => ({
  label,
  apply(next) {
    next.isCalm = false;
    apply(next);
  },
});

function* saying(scenario: Bounded, world: World, i: number): Generator<Step> {
  const sender = world.senders[i];
  if (!sender) return;
  const { attempt } = sender;
  for (const message of says(sender)) {
    if (message.kind === 'DATA' && world.gone.has(message.name)) {
      yield { label: `sender ${i} cannot read ${message.name}`, apply: (next) => void readFor(next, i, message) };
      continue;
    }
    const isAgain = world.late.some((late) => late.from === i && late.attempt === attempt && isSame(late.message, message));
    const steps = isAgain
      ? [...exchanges(scenario, world, i, attempt, message)].map(disturbing)
      : exchanges(scenario, world, i, attempt, message);
    yield* steps;
    if (world.late.length < scenario.late) {
      const late: Late = { from: i, attempt, message, content: { kind: 'message' } };
      const step: Step = { label: `sender ${i}: ${brief(message)} is late`, apply: (next) => void next.late.push(late) };
      yield isAgain ? disturbing(step) : step;
    }
    if (message.kind === 'DATA' && world.faults > 0 && scenario.kinds.includes('false data'))
      yield {
        label: `sender ${i}: other bytes as ${message.name}`,
        apply(next) {
          next.faults--;
          next.isCalm = false;
          hearAnswer(scenario, next, i, deliver(scenario, next, i, message, false));
        },
      };
  }
}

function* arriving(scenario: Bounded, world: World): Generator<Step> {
  for (const [place, { from, attempt, message, content }] of world.late.entries()) {
    const without = (next: World): void => void next.late.splice(place, 1);
    yield {
      label: 'what is late is lost',
      apply(next) {
        next.isCalm = false;
        without(next);
      },
    };
    if (content.kind === 'answer') {
      yield {
        label: `sender ${from} hears a late ${JSON.stringify(content.answer)}`,
        apply(next) {
          without(next);
          if (isLive(next, from, attempt)) hearAnswer(scenario, next, from, content.answer);
        },
      };
      continue;
    }
    for (const step of exchanges(scenario, { ...world, late: world.late.toSpliced(place, 1) }, from, attempt, message))
      yield {
        label: `late, of attempt ${attempt}: ${step.label}`,
        apply(next) {
          without(next);
          step.apply(next);
        },
      };
  }
}

function* faults(scenario: Bounded, world: World): Generator<Step> {
  if (world.faults === 0) return;
  const fault = (kind: Fault, label: string, apply: (next: World) => void): Step[] =>
    scenario.kinds.includes(kind)
      ? [
          {
            label: `(${kind}) ${label}`,
            apply(next) {
              next.faults--;
              next.isCalm = false;
              apply(next);
            },
          },
        ]
      : [];
  for (const [i, receiver] of world.receivers.entries()) {
    if (receiver.status === 'open') yield* fault('receiver killed', `snapshot ${i}`, (next) => restartReceiver(scenario, next, i));
    if (receiver.status === 'open' && acceptedNames(receiver).size > 0)
      yield* fault('pack refused', `snapshot ${i}`, (next) => refusePacks(next, i));
  }
  for (const [i, sender] of world.senders.entries()) {
    if (sender === null) yield* fault('second sender', '', (next) => void (next.senders[i] = beginSender(scenario, i, 1)));
    else if (sender.end === null)
      yield* fault('sender killed', `sender ${i}`, (next) => {
        next.senders[i] = beginSender(scenario, i, sender.attempt + 1);
        next.late = next.late.filter(({ from, content }) => from !== i || content.kind === 'message');
      });
  }
  for (const name of world.values.keys()) {
    if (isHeld(world, name)) yield* fault('lost', name, (next) => loseName(scenario, next, name));
    if (mayDie(scenario, world, name)) yield* fault('dead', name, (next) => void next.values.set(name, 'dead'));
  }
  const names = new Set(scenario.snapshots.flatMap((snapshot) => [...snapshot.values()].flatMap(namesOf)).map(({ name }) => name));
  for (const name of names) if (!world.gone.has(name)) yield* fault('gone', name, (next) => void next.gone.add(name));
}

/** What no live snapshot, no base and no claim holds. */
function mayDie(scenario: Bounded, world: World, name: string): boolean {
  if (world.values.get(name) !== 'counted') return false;
  return scenario.snapshots.every((snapshot, i) =>
    [...snapshot.values()].every(
      (plan) => !plan.kept.some((one) => one.name === name) && !(world.committed[i] && namesOf(plan).some((one) => one.name === name)),
    ),
  );
}

function loseName(scenario: Bounded, world: World, name: string): void {
  world.values.set(name, 'lost');
  for (const [i, snapshot] of scenario.snapshots.entries())
    for (const [subtree, plan] of snapshot)
      if (at(world.receivers, i).subtrees.get(subtree)?.closed === true && namesOf(plan).some((one) => one.name === name))
        world.lostLate[i]?.add(name);
}

function* stepsOf(scenario: Bounded, world: World): Generator<Step> {
  for (const [i, receiver] of world.receivers.entries())
    if (receiver.status === 'open' && acceptedNames(receiver).size > 0)
      yield { label: `packs of snapshot ${i} are confirmed`, apply: (next) => confirmPacks(next, i) };
  for (const i of world.senders.keys()) yield* saying(scenario, world, i);
  yield* arriving(scenario, world);
  yield* faults(scenario, world);
}

// -- the way to an end ----------------------------------------------------------------------------------------------

/** More steps than any session of these scenarios has. */
const STEPS_TO_END = 200;

function stepToEnd(scenario: Bounded, world: World): string | null {
  const late = world.late.shift();
  if (late?.content.kind === 'answer') {
    if (isLive(world, late.from, late.attempt)) hearAnswer(scenario, world, late.from, late.content.answer);
    return `sender ${late.from} hears a late ${late.content.answer.kind}`;
  }
  if (late?.content.kind === 'message') {
    const answer = deliver(scenario, world, late.from, late.message);
    if (isLive(world, late.from, late.attempt)) hearAnswer(scenario, world, late.from, answer);
    return `late: ${brief(late.message)}`;
  }
  for (const [i, sender] of world.senders.entries()) {
    if (!sender || sender.end !== null) continue;
    const [message] = says(sender);
    if (message === undefined) throw new Violation(`sender ${i} has nothing to say and has not ended`);
    if (readFor(world, i, message)) hearAnswer(scenario, world, i, deliver(scenario, world, i, message));
    return `sender ${i}: ${brief(message)}`;
  }
  return null;
}

/** Follows one schedule without faults to its end; `known`: states from which that is known to end well. */
function goToEnd(scenario: Bounded, from: World, known: Set<string>, trace: string[]): void {
  const world = cloneWorld(from);
  const passed: string[] = [];
  for (let steps = 0; steps < STEPS_TO_END; steps++) {
    const key = digestOf(world);
    if (known.has(key)) break;
    passed.push(key);
    const lived = world.senders.map((sender) => sender?.end === null);
    const label = stepToEnd(scenario, world);
    if (label === null) {
      checkLast(scenario, world);
      break;
    }
    trace.push(`then ${label}`);
    // Two rounds in a row may be lost to two faults; to fewer, never.
    const isPatient = scenario.faults - world.faults < STALLED_ROUNDS_MAX;
    for (const [i, sender] of world.senders.entries())
      if (isPatient && lived[i] && sender?.end?.kind === 'failed' && sender.end.code === 'MISSING_EXTENTS')
        throw new Violation(`sender ${i} gives up without a further fault: ${sender.end.names.join(' ')}`);
    if (steps === STEPS_TO_END - 1) throw new Violation('it does not end');
  }
  for (const key of passed) known.add(key);
}

function checkLast(scenario: Bounded, world: World): void {
  const others = world.senders.some((sender) => sender?.end?.kind === 'failed' && sender.end.code !== 'CLAIM_LOST');
  if (!others && !world.committed.some(Boolean)) throw new Violation('every sender left the session to another');
  for (const [i, sender] of world.senders.entries())
    if (sender?.end?.kind === 'committed' && !world.committed[scenario.senders[i] ?? 0]) throw new Violation('committed, and not visible');
}

const digestOf = (world: World): string => hash('sha1', keyOf(world), 'base64').slice(0, 20);

// -- the exploration ------------------------------------------------------------------------------------------------

/** How a state was come to. */
interface Way {
  readonly label: string;
  readonly before: Way | null;
}

interface Node {
  readonly world: World;
  readonly way: Way;
}

function traceOf(way: Way | null): string[] {
  const labels: string[] = [];
  for (let at = way; at !== null; at = at.before) labels.unshift(at.label);
  return labels;
}

/** Explores all that a reach allows, or as much as `statesMax` lets see. */
export function explore(of: Scenario, reach: Reach, statesMax: number): Exploration {
  const scenario: Bounded = { ...of, ...reach };
  const first: Node = { world: firstWorld(scenario, reach), way: { label: 'begin', before: null } };
  const seen = new Set([digestOf(first.world)]);
  const known = new Set<string>();
  const count = { ended: 0, committed: 0, complete: true };
  const result = (violation: Exploration['violation']): Exploration => ({ ...count, states: seen.size, violation });
  for (let layer: Node[] = [first]; layer.length > 0;) {
    const next: Node[] = [];
    for (const { world, way } of layer) {
      if (world.senders.every((sender) => sender?.end !== null)) count.ended++;
      if (world.committed.some(Boolean)) count.committed++;
      const then: string[] = [];
      const stuck = violationOf(() => goToEnd(scenario, world, known, then));
      if (stuck !== null) return result({ message: stuck, trace: [...traceOf(way), ...then] });
      for (const step of stepsOf(scenario, world)) {
        const child: Node = { world: cloneWorld(world), way: { label: step.label, before: way } };
        const message = violationOf(() => step.apply(child.world));
        if (message !== null) return result({ message, trace: traceOf(child.way) });
        const key = digestOf(child.world);
        if (seen.has(key)) continue;
        if (seen.size >= statesMax) {
          count.complete = false;
          continue;
        }
        seen.add(key);
        next.push(child);
      }
    }
    layer = next;
  }
  return result(null);
}

function violationOf(work: () => void): string | null {
  try {
    work();
    return null;
  } catch (error) {
    if (error instanceof Violation) return error.message;
    throw error;
  }
}
