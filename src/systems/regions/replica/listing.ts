/** A page of what is there: the index, with what waits laid over it, in byte order. */
import type { ObjectInfo } from '../../../ground/stores/object-store.ts';
import { MARK_PREFIX } from '../../../ground/stores/replica-wire.ts';
import type { NameIndex } from './names.ts';
import type { Waiting } from './waiting.ts';

export interface PageAsked {
  readonly prefix: string;
  /** Names above this one. */
  readonly after: string;
  readonly limit: number;
}

export function overlaid(index: NameIndex, waiting: Waiting, { prefix, after, limit }: PageAsked): readonly ObjectInfo[] {
  const fresh: ObjectInfo[] = [];
  for (const [name, entries] of waiting.newestOfEach()) {
    const newest = entries.at(-1);
    if (newest !== undefined && newest.kind !== 'delete' && name > after && name.startsWith(prefix))
      fresh.push({ name, sizeBytes: newest.sizeBytes });
  }
  fresh.sort((a, b) => (a.name < b.name ? -1 : 1));
  const page: ObjectInfo[] = [];
  let at = 0;
  const takeBelow = (name: string | null): void => {
    for (let next = fresh[at]; next !== undefined && page.length < limit && (name === null || next.name < name); next = fresh[++at])
      page.push(next);
  };
  for (const info of index.from(prefix, after)) {
    takeBelow(info.name);
    if (page.length >= limit) return page;
    // What something waits of is told from there, or is deleted.
    if (waiting.newest(info.name) === undefined && !info.name.startsWith(MARK_PREFIX)) page.push(info);
    if (page.length >= limit) return page;
  }
  takeBelow(null);
  return page;
}
