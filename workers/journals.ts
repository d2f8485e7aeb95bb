/** The journals that the catalog knows, of disks and of streams, for what looks at all of them. */
import type { Home } from '../src/engine/catalog/home.ts';
import type { Journal } from '../src/engine/journal/journal.ts';
import { journalIn } from '../src/systems/protection/home-journal.ts';
import type { JournalsKnown } from '../src/systems/protection/domain/risk-metrics.ts';
import { openStream } from '../src/systems/regions/home-stream.ts';

export const journalsOf =
  (home: Home): JournalsKnown =>
  async () => {
    const { protections, streams } = await home.catalog.sync();
    const known = new Map<string, () => Promise<Journal>>();
    for (const [journal, protection] of protections) known.set(journal, () => journalIn(home, protection, false));
    // A region that does not answer is told of by whoever uses the stream.
    for (const [journal, stream] of streams) known.set(journal, () => openStream(home, stream, () => undefined));
    return known;
  };
