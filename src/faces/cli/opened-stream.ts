/** A stream of the catalog as a command that only reads uses it. */
import { findStream } from '../../engine/catalog/streams.ts';
import type { Reading } from '../../engine/journal/reading/reading.ts';
import type { Session } from './session.ts';

/** `signal`: ends the reading. JOURNAL_NOT_FOUND, PASSPHRASE_MISSING, STORE_UNREACHABLE. */
export async function openStreamReading(session: Session, journal: string, signal?: AbortSignal): Promise<Reading> {
  const [{ openStream }, { readingOf }] = await Promise.all([
    import('../../systems/regions/home-stream.ts'),
    import('../../engine/journal/reading/reading.ts'),
  ]);
  const home = await session.home();
  const record = findStream(await home.catalog.sync(), journal);
  const opened = await openStream(home, record, (line) => session.say(line));
  return readingOf(opened, signal === undefined ? {} : { signal });
}
