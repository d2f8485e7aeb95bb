/**
 * Events of an installation, in one of its standing processes: idle while the catalog names no brokers, else in turn with other
 * controllers (tenure.ts) the relay and the triggers.
 *
 * Nothing else in the process waits for it, and nothing that stores, brokers or Temporal do ends it.
 */
import { setTimeout as timer } from 'node:timers/promises';
import { isHoldfastError } from '../../domain/errors.ts';
import { EVENTS_PASSED_KEPT } from '../../domain/limits.ts';
import type { EventsRecord } from '../../engine/catalog/events.ts';
import type { Home } from '../../engine/catalog/home.ts';
import type { TriggerRecord } from '../../engine/catalog/triggers.ts';
import type { IncomingEvent } from '../../engine/events/incoming.ts';
import {
  createRegisters,
  positionsOf,
  type LogPosition,
  type NumberedRegister,
  type PassedEvent,
  type Register,
  type Registers,
} from '../../engine/events/position.ts';
import { createKafka, type KafkaLine } from '../../ground/kafka/kafka-cluster.ts';
import { kafkaFailure } from '../../ground/kafka/kafka-errors.ts';
import { listEventLogs } from './event-logs.ts';
import { createRelay, type LogState } from './relay.ts';
import { createEventSender, type EventSender } from './sender.ts';
import { awaitTurn, takeTenure, TENURE_TIMES, type TenureTimes } from './tenure.ts';
import { runTriggers, type StartOutcome } from './trigger-consumer.ts';

export interface EventsServiceOptions {
  readonly home: Home;
  /** Starts what a trigger asks for, under an id of the trigger and the event. */
  start(trigger: TriggerRecord, event: IncomingEvent): Promise<StartOutcome>;
  /** Whether a holder `<host>/<pid>` is known to be no more. */
  isGone(holder: string): boolean;
  readonly observer?: EventsObserver;
  readonly times?: TenureTimes;
  /** How fault tests stand between the service and what it relies on. */
  readonly decorate?: {
    readonly sender?: (sender: EventSender) => EventSender;
    readonly registers?: (registers: Registers) => Registers;
  };
}

export interface EventsObserver {
  sent?(events: number): void;
  started?(trigger: string, outcome: StartOutcome): void;
  passed?(passed: PassedEvent): void;
  failed?(where: string, error: unknown): void;
  kafkaLine?(line: KafkaLine): void;
}

export interface EventsService extends AsyncDisposable {
  /** Of the logs that are relayed here now; empty where another controller does it, or nobody. */
  states(): readonly LogState[];
}

/** How often the catalog is asked whether events are wanted. */
const LOOK_MS = 3_000;
/** Positions are noted at most so often. */
const NOTE_MS = 1_000;
/** For a request to the brokers that is under way when all ends; what it sends is sent again by whoever comes next. */
const GRACE_MS = 4_000;

/** Resolves early when the signal is aborted. */
const pause = (ms: number, signal: AbortSignal): Promise<void> => timer(ms, undefined, { signal }).catch(() => undefined);

export function startEvents(options: EventsServiceOptions): EventsService {
  const { home, observer = {} } = options;
  const stopping = new AbortController();
  let states: () => readonly LogState[] = () => [];
  const failed = (where: string, error: unknown): void => observer.failed?.(where, error);

  const serve = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      try {
        const { events } = await home.catalog.sync();
        if (events !== null) await serveConfigured(options, events, stopping.signal, (told) => (states = told));
      } catch (error) {
        failed('events', error);
        if (!isHoldfastError(error)) await pause(10 * LOOK_MS, stopping.signal);
      }
      states = () => [];
      await pause(LOOK_MS, stopping.signal);
    }
  };
  const serving = serve();
  return {
    states: () => states(),
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await serving;
    },
  };
}

/** Relays and consumes as one configuration says, until that changes, somebody else takes over, or the signal is aborted. */
async function serveConfigured(
  options: EventsServiceOptions,
  events: EventsRecord,
  stopping: AbortSignal,
  tell: (states: () => readonly LogState[]) => void,
): Promise<void> {
  const { home, isGone, observer = {}, times = TENURE_TIMES, decorate } = options;
  const ending = new AbortController();
  const signal = AbortSignal.any([stopping, ending.signal]);
  const watching = watchConfiguration(home, events, signal, () => ending.abort());
  try {
    const { environment, catalogPlace } = home;
    const registers = createRegisters(catalogPlace, environment.random);
    const tenure = {
      ...{ registers: decorate?.registers?.(registers) ?? registers, self: environment.writer },
      ...{ isGone, sleep: pause, times },
    };
    const found = await awaitTurn(tenure, signal);
    if (signal.aborted) return;
    const note = createNote(events, found);
    const failed = (error: unknown): void => observer.failed?.('position', error);
    const held = await takeTenure(tenure, found, note.current, note.changes, failed);
    if (held === null) return;
    // Work that has ended is noted before the tenure is given back; a tenure that is lost ends the work.
    const given = new AbortController();
    const holding = held.hold(NOTE_MS, given.signal).finally(() => ending.abort());
    await work(options, events, note, signal, tell);
    given.abort();
    await holding;
  } finally {
    ending.abort();
    await watching;
  }
}

/** What is noted in the register, and how often it has changed. */
interface Note {
  readonly positions: Map<string, LogPosition>;
  pass(passed: PassedEvent): void;
  changed(): void;
  current(): Omit<Register, 'holder'>;
  changes(): number;
}

function createNote({ generation, topic }: EventsRecord, found: NumberedRegister | null): Note {
  const positions = new Map(Object.entries(positionsOf(found, generation)));
  let passed: readonly PassedEvent[] = found?.register.passed ?? [];
  let changes = 0;
  return {
    positions,
    pass(one) {
      passed = [...passed, one].slice(-EVENTS_PASSED_KEPT);
      changes++;
    },
    changed: () => void changes++,
    current: () => ({ generation, topic, logs: Object.fromEntries(positions), passed: [...passed] }),
    changes: () => changes,
  };
}

/** Both directions, until the signal is aborted; what is under way then has GRACE_MS. */
async function work(
  { home, start, observer = {}, decorate }: EventsServiceOptions,
  events: EventsRecord,
  note: Note,
  signal: AbortSignal,
  tell: (states: () => readonly LogState[]) => void,
): Promise<void> {
  const { environment, catalog, variables, catalogPlace } = home;
  const { kafkaLine, failed } = observer;
  const client = { clientId: `holdfast/${environment.writer}`, variables, ...(kafkaLine === undefined ? {} : { onLine: kafkaLine }) };
  const plain = createEventSender(events, client);
  const sender = decorate?.sender?.(plain) ?? plain;
  const relay = createRelay({
    logs: async () => listEventLogs(home, await catalog.sync()),
    send: (some) => sender.send(some),
    positions: note.positions,
    onSent(count) {
      note.changed();
      observer.sent?.(count);
    },
    onFailure: (log, error) => failed?.(log, error),
    sleep: pause,
  });
  tell(relay.states);
  const triggering = runTriggers(
    {
      kafka: () => createKafka(events.cluster, client),
      groupId: `holdfast-triggers-${catalogPlace.id}`,
      triggers: async () => [...(await catalog.sync()).triggers.values()],
      start,
      onStart: (trigger, outcome) => observer.started?.(trigger, outcome),
      onPassed(one) {
        note.pass(one);
        observer.passed?.(one);
      },
      onFailure: (error) => failed?.('triggers', kafkaFailure(error, events.cluster.brokers)),
      nowMs: environment.nowMs,
      sleep: pause,
    },
    signal,
  );
  const working = Promise.allSettled([relay.run(signal), triggering]);
  await aborted(signal);
  const ended = working.then(() => sender[Symbol.asyncDispose]());
  await Promise.race([ended, timer(GRACE_MS, undefined, { ref: false })]);
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

async function watchConfiguration(home: Home, events: EventsRecord, signal: AbortSignal, changed: () => void): Promise<void> {
  const before = JSON.stringify(events);
  while (!signal.aborted) {
    await pause(LOOK_MS, signal);
    const state = await home.catalog.sync().catch(() => null);
    if (state !== null && JSON.stringify(state.events) !== before) changed();
  }
}
