/**
 * Fills region `c` of the pair's journal, in a process of its own as an operator's `journal backfill` is: `node journal-backfill.ts FOLDER NAME PUT_MS`.
 * Says `ready`, begins when it is told to, and says what it copied. Region `b` is gone.
 */
import { openJournal } from '../src/engine/journal/creating.ts';
import { backfillRegion } from '../src/engine/journal/keeping/backfill.ts';
import { readingOf } from '../src/engine/journal/reading/reading.ts';
import { giveWay } from '../src/ground/processes/give-way.ts';
import { breakable, folderRegion, placesOf } from './journal-places.ts';

giveWay();
const [folder = '', name = '', putMs = ''] = process.argv.slice(2);
const places = { folder, name, putMs: Number(putMs) };
const gone = breakable(await folderRegion(places, 'b'));
gone.break('refuses');
const journal = await openJournal(await placesOf(places, [await folderRegion(places, 'a'), gone.region, await folderRegion(places, 'c')]));
process.once('message', () => {
  void backfillRegion(readingOf(journal, { prefer: ['a'] }), 'c').then((filled) => {
    process.send?.(filled);
    process.disconnect();
  });
});
process.send?.('ready');
