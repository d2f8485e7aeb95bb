/**
 * The relay: follows every log of the installation and sends its records as events, each log in its own order.
 *
 * A log's position rises when the brokers have confirmed all events of a record and those before it, so that a crash between sending and
 * noting repeats events and loses none. Each log is a loop of its own: one whose store is away holds up nobody else. While the brokers are
 * away the loops wait where they are, with a window of records each for at most EVENT_WINDOWS_MAX of them and one record for the others.
 */
import pLimit from 'p-limit';
import { HoldfastError } from '../../domain/errors.ts';
import { EVENT_WINDOWS_MAX, SYNC_WINDOW } from '../../domain/limits.ts';
import type { CloudEvent } from '../../engine/events/cloud-event.ts';
import type { LogPosition } from '../../engine/events/position.ts';
import { BEGINNING, type EventLog, type EventReader, type EventRecord } from './event-logs.ts';

/** A log that has just moved is looked at again after the first; each look that finds nothing doubles the wait, up to the second. */
const LOOK_MS = 500;
const LOOK_MS_MAX = 8_000;
/** After a failure. */
const RETRY_MS = 1_000;
const RETRY_MS_MAX = 10_000;
/** How often the logs are counted for their lag, and new ones looked for. */
const MEASURE_MS = 5_000;

export interface LogState {
  readonly name: string;
  readonly id: string;
  /** Records whose events are not confirmed; as of the last count. */
  readonly lagRecords: number;
  /** When the oldest of them was written; null: none. */
  readonly oldestMs: number | null;
  /** Why it does not get on; null: it does. */
  readonly error: unknown;
}

export interface RelayParts {
  /** The logs as of now; called every few seconds. */
  logs(): Promise<readonly EventLog[]>;
  /** Rejects when the brokers do not take them; all of them are then sent again. */
  send(events: readonly CloudEvent[]): Promise<void>;
  /** Where to begin; the relay notes in it how far it has come. */
  readonly positions: Map<string, LogPosition>;
  /** Told after each position that has risen, and after each failure. */
  onSent(events: number): void;
  onFailure(log: string, error: unknown): void;
  /** Resolves after that time, or at once when the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export interface Relay {
  /** Runs until the signal is aborted, and never rejects for what stores or brokers do. */
  run(signal: AbortSignal): Promise<void>;
  states(): readonly LogState[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export function createRelay(parts: RelayParts): Relay {
  const { positions, send, sleep } = parts;
  const states = new Map<string, Mutable<LogState>>();
  const windows = pLimit(EVENT_WINDOWS_MAX);
  /** Aborted and replaced whenever something has moved: then every log is looked at again soon. */
  let stir = new AbortController();

  /** False: the signal was aborted before the brokers had all of them. */
  const sendUntilTaken = async (
    log: EventLog,
    events: readonly CloudEvent[],
    state: Mutable<LogState>,
    signal: AbortSignal,
  ): Promise<boolean> => {
    for (let retryMs = RETRY_MS; !signal.aborted; retryMs = Math.min(2 * retryMs, RETRY_MS_MAX)) {
      try {
        await send(events);
        state.error = null;
        return true;
      } catch (error) {
        if (signal.aborted) return false;
        state.error = error;
        parts.onFailure(log.name, error);
        await sleep(retryMs, signal);
      }
    }
    return false;
  };

  const followOnce = async (log: EventLog, reader: EventReader, state: Mutable<LogState>, signal: AbortSignal): Promise<boolean> => {
    const at = positions.get(log.id) ?? BEGINNING;
    const first = await reader.read(at.n + 1, 1);
    const [oldest] = first;
    state.error = null;
    state.oldestMs = oldest?.timeMs ?? null;
    if (oldest === undefined) {
      state.lagRecords = 0;
      return false;
    }
    await windows(async () => {
      if (signal.aborted) return;
      const window = [...first, ...(await reader.read(at.n + 2, SYNC_WINDOW - 1))];
      requireChain(log, at, window);
      const events = window.flatMap((record) => record.events());
      if (!(await sendUntilTaken(log, events, state, signal))) return;
      const last = window.at(-1) ?? oldest;
      positions.set(log.id, { n: last.seq, head: last.digest });
      state.lagRecords = Math.max(0, state.lagRecords - window.length);
      parts.onSent(events.length);
    });
    return true;
  };

  const follow = async (log: EventLog, signal: AbortSignal): Promise<void> => {
    const state: Mutable<LogState> = { name: log.name, id: log.id, lagRecords: 0, oldestMs: null, error: null };
    states.set(log.id, state);
    let reader: EventReader | null = null;
    let lookMs = LOOK_MS;
    let retryMs = RETRY_MS;
    while (!signal.aborted) {
      try {
        reader ??= await log.openAt(positions.get(log.id) ?? BEGINNING);
        const moved = await followOnce(log, reader, state, signal);
        retryMs = RETRY_MS;
        if (moved) {
          lookMs = LOOK_MS;
          // The catalog tells of what goes on elsewhere; and a log that moves is seldom alone.
          if (log.name === 'catalog') stirAll();
          continue;
        }
        const stirred = stir.signal;
        await sleep(lookMs, AbortSignal.any([signal, stirred]));
        lookMs = stirred.aborted ? LOOK_MS : Math.min(2 * lookMs, LOOK_MS_MAX);
      } catch (error) {
        // Its mapper may have been told of records that are now sent again: the next one begins at the position.
        reader = null;
        if (signal.aborted) return;
        state.error = error;
        parts.onFailure(log.name, error);
        await sleep(retryMs, signal);
        retryMs = Math.min(2 * retryMs, RETRY_MS_MAX);
      }
    }
  };

  const stirAll = (): void => {
    stir.abort();
    stir = new AbortController();
  };

  const measure = async (log: EventLog): Promise<void> => {
    const state = states.get(log.id);
    const { n } = positions.get(log.id) ?? BEGINNING;
    if (state === undefined || state.oldestMs === null) return;
    const head = await log.head(n);
    const { n: now } = positions.get(log.id) ?? BEGINNING;
    state.lagRecords = Math.max(0, head - now);
  };

  return {
    states: () => [...states.values()],
    async run(signal) {
      const following = new Map<string, Promise<void>>();
      while (!signal.aborted) {
        try {
          const logs = await parts.logs();
          for (const log of logs) if (!following.has(log.id)) following.set(log.id, follow(log, signal));
          for (const log of logs) if (!signal.aborted) await measure(log).catch(() => undefined);
        } catch (error) {
          parts.onFailure('catalog', error);
        }
        await sleep(MEASURE_MS, signal);
      }
      await Promise.all(following.values());
    },
  };
}

function requireChain(log: EventLog, at: LogPosition, window: readonly EventRecord[]): void {
  let { head } = at;
  for (const { seq, previous, digest } of window) {
    if (previous !== head)
      throw new HoldfastError('LOG_DIVERGED', `record ${seq} of ${log.name} does not follow the one before it`, { seq });
    head = digest;
  }
}
