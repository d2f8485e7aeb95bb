/**
 * One round of an archiver: from the log's offsets on, as long as Kafka and the store answer.
 *
 * Everything here is forgotten when the round ends. Fetches, batches and heartbeats overlap, but each of a partition's offsets is
 * handed on once and in order.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import {
  CLAIM_LOOK_MS,
  FETCH_BYTES,
  FETCH_PARTITION_BYTES,
  FETCH_WAIT_MS,
  HEARTBEAT_GRACE_MS,
  TOPICS_LOOK_MS,
} from '../../../domain/limits.ts';
import { addPartitions } from '../../../engine/tables/archive/archive.ts';
import type { GapCause } from '../../../engine/tables/archive/batch.ts';
import type { Duck } from '../../../engine/tables/archive/duck.ts';
import type { BatchPart } from '../../../engine/tables/archive/entries.ts';
import type { Fetched, PartitionReader, Want } from '../../../ground/kafka/partition-reader.ts';
import type { ArchivingParts } from './archiver.ts';
import { createBystanders } from './bystanders.ts';
import { listeningDecoder } from './decoding.ts';
import { createHeartbeats } from './heartbeats.ts';
import { holeKind, splitMissing } from './missing.ts';
import { createPutting } from './putting.ts';
import { createSourceClock } from './source-clock.ts';
import { isPattern, parsePartitionId, partitionsOf } from './topics.ts';

export interface RoundParts extends ArchivingParts {
  readonly reader: PartitionReader;
  readonly duck: Duck;
  readonly note: {
    put(parts: readonly BatchPart[], bytes: number): void;
    heartbeat(): void;
    partitions(added: readonly string[]): void;
  };
}

/** A partition as this round knows it. */
interface Following {
  readonly topic: string;
  readonly partition: number;
  /** Where the next fetch begins. */
  next: number;
  /** When what was read was last known to be all there was; null: the archive does not say. */
  completeMs: number | null;
  /** Where a fetch has met the end of the log, and when it was begun. */
  end: { readonly offset: number; readonly begunMs: number } | null;
}

type Read = Extract<Fetched, { kind: 'read' }>;
const BOUNDS = { waitMs: FETCH_WAIT_MS, bytes: FETCH_BYTES, partitionBytes: FETCH_PARTITION_BYTES };

/** Returns when it is stopped; rejects when something does not answer, or stands against it. */
export async function readOn(parts: RoundParts): Promise<void> {
  const { archive, epoch, source, reader, duck, signal, note } = parts;
  const { nowMs } = archive.environment;
  const clock = createSourceClock(HEARTBEAT_GRACE_MS);
  const bystanders = createBystanders(reader, source, (stampUs) => clock.note(Math.min(stampUs, nowMs() * 1000), nowMs()));
  const following = new Map<string, Following>();
  const retention = new Map<string, number | null>();
  const form = archive.known().form;
  if (form === null) throw new HoldfastError('INTERNAL', 'an archive without a form was claimed');
  const putting = createPutting({
    ...{ archive, duck, epoch, nowMs },
    decode: listeningDecoder(form, (stampUs) => clock.note(Math.min(stampUs, nowMs() * 1000), nowMs())),
    onPut: (batch, bytes) => note.put(batch.parts, bytes),
  });
  const heartbeats = createHeartbeats({ archive, epoch, clock, onBeat: note.heartbeat });

  /** Partitions that are there and not followed yet; the archive waits for each from the moment in which it is seen. */
  const discover = async (): Promise<void> => {
    const named = [...source.topics.filter((name) => !isPattern(name)), ...bystanders.topics];
    const there = await reader.partitions(source.topics.some(isPattern) ? null : named);
    const ids = partitionsOf(source.topics, there);
    if (ids.length === 0)
      throw new HoldfastError('TOPIC_NOT_FOUND', `no topic is there for ${source.topics.join(', ')}`, { topics: source.topics });
    const fresh = ids.filter((id) => !following.has(id));
    if (fresh.length > 0) {
      // Somebody else may have noted them, so what is known is looked at anew, and the next batch begins on it.
      const { partitions } = await archive.sync();
      const added = fresh.filter((id) => !partitions.has(id));
      if (added.length > 0) await addPartitions(archive, added);
      await putting.settle();
      for (const id of fresh) following.set(id, follow(id));
      if (added.length > 0) note.partitions(added);
    }
    bystanders.follow(there);
  };

  const follow = (id: string): Following => {
    const state = archive.known().partitions.get(id);
    const knownUs = Math.max(state?.runningUs ?? 0, state?.heartbeatUs ?? 0);
    const next = state?.next ?? 0;
    const completeMs = next === 0 ? nowMs() : knownUs > 0 ? knownUs / 1000 : null;
    return { ...parsePartitionId(id), next, completeMs, end: null };
  };

  /** What the fetch has not brought though it went past it. */
  const passMissing = async (id: string, at: Following, from: number, to: number, { controls, end }: Read): Promise<void> => {
    if (to <= from) return;
    const inControls = controls.some((range) => range.from < to && range.to > from);
    const hole = inControls && splitMissing(from, to, controls, 'lost').every(({ kind }) => kind === 'control') ? 'lost' : await holeOf(at);
    for (const range of splitMissing(from, to, controls, hole))
      if (putting.endAt(id, range.to, { kind: range.kind, end })) await putting.rotate();
  };

  /** A broker fills its answer in the order in which it is asked: nobody is always last. */
  const inTurn = (wants: readonly Want[]): Want[] => {
    const first = archive.environment.random(4).readUInt32BE(0) % Math.max(1, wants.length);
    return [...wants.slice(first), ...wants.slice(0, first)];
  };

  const holeOf = async ({ topic, completeMs }: Following): Promise<GapCause['kind']> => {
    const known = retention.get(topic);
    const retentionMs = known === undefined ? await reader.deleteRetentionMs(topic).catch(() => null) : known;
    retention.set(topic, retentionMs);
    return holeKind(completeMs, nowMs(), retentionMs);
  };

  const take = async (id: string, at: Following, read: Read, begunMs: number): Promise<void> => {
    let done = read.offset;
    const cause: GapCause = { kind: 'lost', end: read.end };
    for (const record of read.records) {
      if (record.offset > done) await passMissing(id, at, done, record.offset, read);
      if (putting.add(id, record, cause)) await putting.rotate();
      done = record.offset + 1;
    }
    await passMissing(id, at, done, read.next, read);
    // Beyond a transaction that is open there may be more, of an older stamp.
    if (read.next < read.high) return;
    at.end = { offset: read.next, begunMs };
    at.completeMs = begunMs;
  };

  /** The offset is not in the log: older records have been dropped, or it is another log than the one that was archived. */
  const takeRange = async (id: string, at: Following): Promise<void> => {
    const { start, end } = await reader.range(at.topic, at.partition);
    if (at.next > end)
      throw new HoldfastError('TOPIC_REPLACED', `${id} was archived up to ${at.next}, and the topic ends at ${end}`, {
        ...{ partition: id, archived: at.next, end },
      });
    if (start <= at.next) return;
    if (putting.endAt(id, start, { kind: 'lost', end })) await putting.rotate();
    at.next = start;
  };

  interface Fetching {
    readonly begunMs: number;
    readonly answer: Promise<readonly Fetched[]>;
  }
  const fetch = (): Fetching => {
    const own: Want[] = [...following.values()].map(({ topic, partition, next }) => ({ topic, partition, offset: next }));
    const begunMs = nowMs();
    const answer = reader.fetch(inTurn([...bystanders.wants(), ...own]), BOUNDS);
    // It is waited for below; until then it must not end the process.
    answer.catch(() => undefined);
    return { begunMs, answer };
  };

  let lookedMs = nowMs();
  let claimMs = lookedMs;
  try {
    await discover();
    for (let fetching = fetch(); !signal.aborted;) {
      const fetched = await fetching.answer;
      const { begunMs } = fetching;
      const out = [];
      const taken: { readonly id: string; readonly at: Following; readonly read: Read }[] = [];
      for (const one of fetched) {
        if (bystanders.take(one)) continue;
        const id = `${one.topic}/${one.partition}`;
        const at = following.get(id);
        if (at === undefined) continue;
        if (one.kind === 'out of range') out.push({ id, at });
        else {
          taken.push({ id, at, read: one });
          at.next = one.next;
        }
      }
      for (const { id, at } of out) await takeRange(id, at);
      if (nowMs() - lookedMs >= TOPICS_LOOK_MS) {
        lookedMs = nowMs();
        await discover();
      }
      fetching = fetch();
      for (const { id, at, read } of taken) await take(id, at, read, begunMs);
      await putting.tick(nowMs());
      await heartbeats.tick(following, nowMs());
      if (nowMs() - claimMs >= CLAIM_LOOK_MS) {
        claimMs = nowMs();
        await requireClaim();
      }
      if (fetched.length === 0) await archive.environment.sleep(FETCH_WAIT_MS);
    }
    await putting.settle();
  } finally {
    await Promise.all([putting.end(), heartbeats.end()]);
  }

  async function requireClaim(): Promise<void> {
    const { claims } = await archive.sync();
    if (claims.archive !== epoch)
      throw new HoldfastError('CLAIM_LOST', `claim ${epoch} of the role archive is closed`, { epoch, open: claims.archive });
  }
}
