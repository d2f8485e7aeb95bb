/**
 * Reads the topics of all triggers and starts what their events ask for.
 *
 * A record's offset is committed after everything that it starts has been started, so that a crash delivers it again; what was started by an
 * event is told by the workflow's id, so that the second delivery starts nothing. What cannot be used is passed over with a reason. While
 * Temporal is away the records wait in Kafka. At most one fetch of FETCH_BYTES is in memory.
 */
import type { Consumer, EachBatchPayload, Kafka, KafkaMessage } from 'kafkajs';
import { isHoldfastError, messageOf } from '../../domain/errors.ts';
import { TRIGGER_EVENT_AGE_MS_MAX } from '../../domain/limits.ts';
import type { TriggerRecord } from '../../engine/catalog/triggers.ts';
import { matches, readIncoming, type IncomingEvent } from '../../engine/events/incoming.ts';
import type { PassedEvent } from '../../engine/events/position.ts';

const FETCH_BYTES = 4 * 1024 * 1024;
/** A fetch that finds nothing ends after this; so long it takes at the least to leave the group in order. */
const FETCH_WAIT_MS = 1_000;
/** How soon another consumer gets the partitions of one that was killed. */
const SESSION_MS = 10_000;
const HEARTBEAT_MS = 2_000;
/** Offsets are committed at least so often; more records than that are delivered again after a crash, and start nothing. */
const COMMIT_MS = 1_000;
const RETRY_MS = 1_000;
/** How often topics that were not there are looked for, and changed triggers. */
const LOOK_MS = 3_000;

export type StartOutcome = 'started' | 'duplicate';

export interface TriggerParts {
  kafka(): Promise<Kafka>;
  readonly groupId: string;
  /** The triggers as of now. */
  triggers(): Promise<readonly TriggerRecord[]>;
  /** Idempotent by trigger and event. Rejects with a retryable code while nobody can be asked. */
  start(trigger: TriggerRecord, event: IncomingEvent): Promise<StartOutcome>;
  onStart(trigger: string, outcome: StartOutcome): void;
  onPassed(passed: PassedEvent): void;
  onFailure(error: unknown): void;
  nowMs(): number;
  /** Resolves after that time, or at once when the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** Runs until the signal is aborted; never rejects for what brokers or Temporal do. */
export async function runTriggers(parts: TriggerParts, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const triggers = await parts.triggers();
      if (triggers.length > 0) await consume(parts, triggers, signal);
    } catch (error) {
      if (!signal.aborted) parts.onFailure(error);
    }
    await parts.sleep(LOOK_MS, signal);
  }
}

const topicsOf = (triggers: readonly TriggerRecord[]): readonly string[] => [...new Set(triggers.map(({ topic }) => topic))].sort();

/** Consumes until the signal is aborted, or there are other topics to read than at its beginning. */
async function consume(parts: TriggerParts, begun: readonly TriggerRecord[], signal: AbortSignal): Promise<void> {
  const kafka = await parts.kafka();
  let triggers = begun;
  const topics = await prepareOffsets(kafka, parts.groupId, triggers);
  if (topics.length === 0) return;
  const consumer = kafka.consumer({
    groupId: parts.groupId,
    ...{ sessionTimeout: SESSION_MS, heartbeatInterval: HEARTBEAT_MS, maxBytes: FETCH_BYTES },
    ...{ maxBytesPerPartition: FETCH_BYTES / 4, maxWaitTimeInMs: FETCH_WAIT_MS },
    retry: { retries: 5, restartOnFailure: () => Promise.resolve(false) },
  });
  const ending = new AbortController();
  const ended = AbortSignal.any([signal, ending.signal]);
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    parts.onFailure(payload.error);
    ending.abort();
  });
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [...topics], fromBeginning: true });
    await consumer.run({
      autoCommit: true,
      autoCommitInterval: COMMIT_MS,
      eachBatchAutoResolve: false,
      eachBatch: (payload) => takeBatch(parts, () => triggers, payload, ended),
    });
    while (!ended.aborted) {
      await parts.sleep(LOOK_MS, ended);
      triggers = await parts.triggers().catch(() => triggers);
      // A topic that was not there yet is asked for again each time.
      const wanted = topicsOf(triggers);
      if (wanted.length !== topics.length || wanted.some((topic) => !topics.includes(topic))) {
        const there = await existing(kafka, wanted);
        if (there.length !== topics.length || there.some((topic) => !topics.includes(topic))) ending.abort();
      }
    }
  } finally {
    await leave(consumer);
  }
}

/** A consumer whose broker is away says so when it leaves; there is nothing to be done about it. */
const leave = (consumer: Consumer): Promise<void> => consumer.disconnect().catch(() => undefined);

async function existing(kafka: Kafka, topics: readonly string[]): Promise<readonly string[]> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const there = new Set(await admin.listTopics());
    return topics.filter((topic) => there.has(topic));
  } finally {
    await admin.disconnect();
  }
}

/**
 * Where the group has committed nothing yet it begins when the first of a topic's triggers was added: not at the end, for events that came
 * while nobody read, and not at the beginning, for a topic can be long. Returns the topics that are there.
 */
async function prepareOffsets(kafka: Kafka, groupId: string, triggers: readonly TriggerRecord[]): Promise<readonly string[]> {
  const topics = await existing(kafka, topicsOf(triggers));
  if (topics.length === 0) return topics;
  const admin = kafka.admin();
  await admin.connect();
  try {
    for (const { topic, partitions } of await admin.fetchOffsets({ groupId, topics: [...topics] })) {
      const unset = new Set(partitions.filter(({ offset }) => offset === '-1').map(({ partition }) => partition));
      if (unset.size === 0) continue;
      const sinceMs = Math.min(...triggers.filter((trigger) => trigger.topic === topic).map((trigger) => trigger.sinceMs));
      const begins = await admin.fetchTopicOffsetsByTimestamp(topic, sinceMs);
      await admin.setOffsets({ groupId, topic, partitions: begins.filter(({ partition }) => unset.has(partition)) });
    }
    return topics;
  } finally {
    await admin.disconnect();
  }
}

async function takeBatch(
  parts: TriggerParts,
  triggers: () => readonly TriggerRecord[],
  { batch, resolveOffset, heartbeat, commitOffsetsIfNecessary, isRunning, isStale }: EachBatchPayload,
  signal: AbortSignal,
): Promise<void> {
  for (const message of batch.messages) {
    if (signal.aborted || !isRunning() || isStale()) return;
    const place = { topic: batch.topic, partition: batch.partition };
    if (!(await takeMessage(parts, triggers(), place, message, heartbeat, signal))) return;
    resolveOffset(message.offset);
    await heartbeat();
    await commitOffsetsIfNecessary();
  }
}

interface Place {
  readonly topic: string;
  readonly partition: number;
}

function headerOf({ headers }: KafkaMessage): (name: string) => string | undefined {
  return (name) => {
    const found = headers?.[name];
    return (Array.isArray(found) ? found[0] : found)?.toString();
  };
}

/** False: the signal was aborted before all was started. */
async function takeMessage(
  parts: TriggerParts,
  all: readonly TriggerRecord[],
  { topic, partition }: Place,
  message: KafkaMessage,
  heartbeat: () => Promise<void>,
  signal: AbortSignal,
): Promise<boolean> {
  const { offset, value } = message;
  const timestampMs = Number(message.timestamp);
  const candidates = all.filter((trigger) => trigger.topic === topic && timestampMs >= trigger.sinceMs);
  if (candidates.length === 0) return true;
  const pass = (reason: string): void => parts.onPassed({ topic, partition, offset, reason: reason.slice(0, 300), atMs: parts.nowMs() });
  const read = readIncoming({ topic, partition, offset, timestampMs, value, header: headerOf(message) });
  if ('bad' in read) {
    pass(read.bad);
    return true;
  }
  for (const trigger of candidates.filter(({ filter }) => matches(filter, read.event))) {
    if (parts.nowMs() - read.event.timeMs > TRIGGER_EVENT_AGE_MS_MAX) pass(`too old for ${trigger.name}: of ${isoOf(read.event.timeMs)}`);
    else if (!(await startUntilDone(parts, trigger, read.event, pass, heartbeat, signal))) return false;
  }
  return true;
}

/** Times that no calendar has are left out. */
const isoOf = (ms: number): string => (Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : String(ms));

async function startUntilDone(
  { start, onStart, onFailure, sleep }: TriggerParts,
  trigger: TriggerRecord,
  event: IncomingEvent,
  pass: (reason: string) => void,
  heartbeat: () => Promise<void>,
  signal: AbortSignal,
): Promise<boolean> {
  while (!signal.aborted) {
    try {
      onStart(trigger.name, await start(trigger, event));
      return true;
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      if (isHoldfastError(error, 'ARGUMENT_INVALID')) {
        pass(`refused for ${trigger.name}: ${messageOf(error)}`);
        return true;
      }
      onFailure(error);
      await sleep(RETRY_MS, signal);
      await heartbeat();
    }
  }
  return false;
}
