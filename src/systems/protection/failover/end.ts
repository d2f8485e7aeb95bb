/** A failover, or failback, is done: neither its note nor its pins are left. */
import type { Journal } from '../../../engine/journal/journal.ts';
import { unpin } from '../../../engine/journal/keeping/pins.ts';
import type { Host } from '../../../engine/volumes/host.ts';
import { failbackPin } from './begin-failback.ts';
import { readFailover, removeFailover } from './note.ts';

export async function endFailover(host: Host, journal: Journal): Promise<void> {
  const note = await readFailover(host, journal.name);
  if (note === null) return;
  if (note.image?.asOf) await unpin(journal, failbackPin(note.group, note.image.asOf.seq));
  await removeFailover(host, journal.name);
}
