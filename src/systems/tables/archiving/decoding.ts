/** The decoder of a table, by its form, which tells what it hears of the source's time. */
import type { TableForm } from '../../../engine/tables/archive/entries.ts';
import { createDebeziumDecoder } from '../../../engine/tables/events/debezium.ts';
import type { Decoder } from '../../../engine/tables/events/event.ts';
import { createPlainDecoder } from '../../../engine/tables/events/plain.ts';

const decoderOf = (form: TableForm): Decoder => (form.form === 'debezium' ? createDebeziumDecoder(form) : createPlainDecoder(form));

/** `onStamp`: the stamp of each event that has a place of its own in the source's log. */
export function listeningDecoder(form: TableForm, onStamp: (stampUs: number) => void): Decoder {
  const decode = decoderOf(form);
  return (record) => {
    const decoded = decode(record);
    if (decoded.kind === 'change' && decoded.stampUs !== null && (decoded.place.kind === 'source' || decoded.place.kind === 'time'))
      onStamp(decoded.stampUs);
    return decoded;
  };
}
