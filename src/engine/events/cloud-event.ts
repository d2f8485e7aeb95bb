/**
 * A CloudEvent 1.0 as this product sends it: the structured form of the Kafka binding, so that the value alone is the whole event. What shows,
 * copies or queries a topic (kcat, ksqlDB, sinks of Kafka Connect, DuckDB) sees values; headers, where the binary form has the attributes,
 * are lost on such ways.
 */
import { EVENT_OUT_BYTES_MAX } from '../../domain/limits.ts';

export interface CloudEvent {
  readonly specversion: '1.0';
  /** `<log>.<record>.<entry>`: the same however often it is sent. */
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string;
  /** When the record was written. */
  readonly time: string;
  /** The key of the record in Kafka (extension `partitioning`). */
  readonly partitionkey: string;
  /** Within its log, as text that sorts (extension `sequence`). */
  readonly sequence: string;
  readonly datacontenttype: 'application/json';
  readonly data?: object;
  /** In the place of data that is too large (extension `dataref`): the record and entry that has it. */
  readonly dataref?: string;
}

export interface EventMessage {
  readonly key: string;
  readonly value: string;
  readonly headers: Readonly<Record<string, string>>;
}

const HEADERS = { 'content-type': 'application/cloudevents+json; charset=UTF-8' } as const;

/** An event without its data, which stays where it came from. */
export function withoutData(event: CloudEvent): CloudEvent {
  const { data: _, ...rest } = event;
  const [, seq = '', index = ''] = event.id.split('.');
  return { ...rest, dataref: `${event.source}/log/${seq.padStart(20, '0')}#${index}` };
}

/** As a record of Kafka; data that no broker would take stays behind. */
export function messageOfEvent(event: CloudEvent): EventMessage {
  const value = JSON.stringify(event);
  const fits = Buffer.byteLength(value) <= EVENT_OUT_BYTES_MAX;
  return { key: event.partitionkey, value: fits ? value : JSON.stringify(withoutData(event)), headers: HEADERS };
}
