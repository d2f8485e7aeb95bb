/**
 * What a session is found again from: the pages of its file, and the packs of its claim.
 *
 * The directories of the packs say what was brought; the file only saves reading them. A pack of which it does not know is
 * read, one that is gone, cut, or of a claim that is not kept any more is taken out, and one whose directory does not open is
 * litter.
 */
import pLimit from 'p-limit';
import { isHoldfastError } from '../../../domain/errors.ts';
import { readDirectory } from '../../repository/destination.ts';
import type { Claim } from '../../repository/ledger.ts';
import { decodePackId, packNameOf } from '../../repository/object-names.ts';
import { BASE_PAGE, type Reference } from '../messages.ts';
import { reopenReceiver, type Receiver } from '../receiver.ts';
import { isHeld } from './holdings.ts';
import { DIRECTORIES_AT_ONCE } from './limits.ts';
import { endOf, subtreesOf } from './opening.ts';
import { namesOf } from './pages.ts';
import type { SessionState } from './state.ts';

type Durable = Pick<SessionState, 'repository' | 'inventory' | 'file' | 'opening'>;

export async function adoptPacks({ repository, inventory, file }: Durable, { epoch, kept }: Claim): Promise<void> {
  const claims = [epoch, ...kept];
  const known = new Set<string>();
  for (const { id, bytes } of file.packs()) {
    if (claims.includes(decodePackId(id).claim) && inventory.has(id, bytes)) known.add(id.toString('hex'));
    else file.dropPack(id);
  }
  const limit = pLimit(DIRECTORIES_AT_ONCE);
  const unknown = claims.flatMap((claim) => inventory.packsOf(claim)).filter(({ id }) => !known.has(id.toString('hex')));
  await Promise.all(
    unknown.map(({ id, bytes }) =>
      limit(async () => {
        const object = packNameOf(id);
        try {
          const entries = await readDirectory(repository, object, bytes);
          if (entries !== null) file.addPack({ id, bytes, blobs: entries.length }, entries);
        } catch (error) {
          if (!isHoldfastError(error, 'DAMAGED')) throw error;
          repository.environment.alarm('a pack of an unfinished session does not open and is not adopted', { object });
        }
      }),
    ),
  );
}

/** The reducer's state after a restart. A subtree with a receipt has nothing to wait for before its next proof. */
export function reopened(state: Durable, epoch: number): Receiver {
  const { file, opening } = state;
  const noted = file.pageNumbers();
  const pages = new Map<number, { page: number; references: readonly Reference[] }[]>();
  for (let subtree = 0; subtree < subtreesOf(opening); subtree++) {
    const isDone = file.receipt(subtree) !== null;
    const own = (noted.get(subtree) ?? []).flatMap((number) => {
      if (isDone) return [{ page: number, references: [] }];
      const page = file.page(subtree, number);
      if (page === null) return [];
      return [{ page: number, references: number >= BASE_PAGE ? [] : namesOf(page, number, endOf(opening, subtree, number)) }];
    });
    pages.set(subtree, own);
  }
  return reopenReceiver({ epoch, status: 'open', pages }, (name) => isHeld(state, name));
}
