/** How far events are behind, as anybody can find out who has the home store: from the register and the logs, without the brokers. */
import { isHoldfastError, type ErrorCode } from '../../domain/errors.ts';
import type { EventsRecord } from '../../engine/catalog/events.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { createRegisters, positionsOf, type PassedEvent } from '../../engine/events/position.ts';
import { BEGINNING, listEventLogs, type EventLog } from './event-logs.ts';

export interface LogLag {
  readonly log: string;
  readonly id: string;
  /** Records whose events are confirmed. */
  readonly sent: number;
  /** Records that wait; null: the log cannot be read now. */
  readonly lagRecords: number | null;
  /** Since the oldest of them was written. */
  readonly lagMs: number;
  readonly error: ErrorCode | null;
}

export interface EventsStatus {
  readonly events: EventsRecord | null;
  /** The controller that relays, `<host>/<pid>`; null: none does. */
  readonly holder: string | null;
  readonly logs: readonly LogLag[];
  /** Events from outside that could not be used, the newest last. */
  readonly passed: readonly PassedEvent[];
}

export async function eventsStatus(home: Home): Promise<EventsStatus> {
  const state = await home.catalog.sync();
  const { events } = state;
  if (events === null) return { events, holder: null, logs: [], passed: [] };
  const found = await createRegisters(home.catalogPlace, home.environment.random).newest();
  const positions = positionsOf(found, events.generation);
  const logs: LogLag[] = [];
  for (const log of listEventLogs(home, state)) logs.push(await lagOf(log, (positions[log.id] ?? BEGINNING).n, home.environment.nowMs()));
  return { events, holder: found?.register.holder ?? null, logs, passed: found?.register.passed ?? [] };
}

async function lagOf(log: EventLog, sent: number, nowMs: number): Promise<LogLag> {
  const at = { log: log.name, id: log.id, sent };
  try {
    const writtenMs = await log.writtenMs(sent + 1);
    if (writtenMs === null) return { ...at, lagRecords: 0, lagMs: 0, error: null };
    return { ...at, lagRecords: (await log.head(sent + 1)) - sent, lagMs: Math.max(0, nowMs - writtenMs), error: null };
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    return { ...at, lagRecords: null, lagMs: 0, error: error.code };
  }
}
