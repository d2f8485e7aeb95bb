/** A trigger: which events of a topic start which job. Entries of the catalog. */
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { NAME_PATTERN } from '../../domain/ids.ts';
import { JOB_SCHEMAS } from '../../domain/job-inputs.ts';
import { SNAPSHOT_TABLE, TRIGGERED_JOBS } from '../../domain/jobs.ts';
import { TRIGGER_FIELDS_MAX } from '../../domain/limits.ts';
import { topicName } from '../../ground/kafka/kafka-cluster.ts';

/** Of an attribute: `*` stands for any characters. */
const pattern = z.string().min(1).max(300);

const tableInput = z.strictObject({ table: z.string().regex(NAME_PATTERN) });

export const triggerName = z.string().regex(NAME_PATTERN);

const eventFilter = z.strictObject({
  /** Null: any. */
  type: pattern.nullable(),
  source: pattern.nullable(),
  subject: pattern.nullable(),
  /** Members of the event as JSON, by their names from the outermost one on; each has to be there and to be this. */
  fields: z
    .array(
      z.strictObject({
        path: z.array(z.string().min(1).max(200)).min(1).max(16),
        equals: z.union([z.string().max(1000), z.number(), z.boolean(), z.null()]),
      }),
    )
    .max(TRIGGER_FIELDS_MAX),
});
export type EventFilter = z.infer<typeof eventFilter>;

export const triggerRecord = z.strictObject({
  name: triggerName,
  topic: topicName,
  filter: eventFilter,
  start: z
    .strictObject({ job: z.enum([...TRIGGERED_JOBS, SNAPSHOT_TABLE]), input: z.record(z.string(), z.unknown()) })
    .refine(({ job, input }) => (job === SNAPSHOT_TABLE ? tableInput : JOB_SCHEMAS[job]).safeParse(input).success, {
      error: 'the input is not one of that job',
    }),
  /** Events that the broker has from before are not for it. */
  sinceMs: z.int().min(0),
});
export type TriggerRecord = z.infer<typeof triggerRecord>;

interface Triggers {
  readonly triggers: ReadonlyMap<string, TriggerRecord>;
}

export const triggerNotFound = (trigger: string): HoldfastError =>
  new HoldfastError('TRIGGER_NOT_FOUND', `no trigger ${trigger}`, { trigger });

/** What stands against a new trigger. `ownTopic`: to which this installation sends its own events; null: none. */
export function triggerRefusal(
  { triggers }: Triggers,
  { name, topic, filter }: TriggerRecord,
  ownTopic: string | null,
): HoldfastError | null {
  if (triggers.has(name)) return new HoldfastError('TRIGGER_EXISTS', `trigger ${name} is in the catalog`, { trigger: name });
  // A job's own records are events, too: what starts at any of them never ends.
  return topic === ownTopic && filter.type === null
    ? new HoldfastError('ARGUMENT_INVALID', `${topic} has the events of the jobs that this would start`, {
        field: 'type',
        expected: 'on the own topic a type, and one that the job itself does not bring about',
      })
    : null;
}
