/**
 * Changes the passphrase of a store: the data key of each of its repositories and archives of tables is wrapped anew, then the catalog learns the
 * new reference. No data is rewritten.
 *
 * May be killed at any step and given again: a repository that opens with the new passphrase is done, unless slots of the
 * old one are left, which are then removed. The catalog comes last, so that until all is done the store is refused
 * (PASSPHRASE_WRONG) rather than half believed; workers open it anew after that.
 */
import { randomBytes } from 'node:crypto';
import { isHoldfastError } from '../../domain/errors.ts';
import type { StoreRecord } from '../../engine/catalog/catalog.ts';
import { repositoryPrefix } from '../../engine/catalog/home.ts';
import { changePassphrase, openRepositoryFormat } from '../../engine/repository/format.ts';
import { tablePrefix } from '../../engine/catalog/tables.ts';
import { resolvePassphrase } from '../../ground/sealing/passphrase.ts';
import { listAll, type ObjectStore } from '../../ground/stores/object-store.ts';
import { within } from '../../ground/stores/within.ts';
import { archivesIn, repositoriesIn } from '../rescue/rescue-store.ts';
import type { Session } from './session.ts';

export type PassphraseChange = 'changed' | 'was changed before';

async function keySlots(store: ObjectStore): Promise<number> {
  let slots = 0;
  for await (const _ of listAll(store, 'keys/')) slots++;
  return slots;
}

/** Afterwards the repository opens with `after` and with nothing else. */
export async function changeRepositoryPassphrase(inside: ObjectStore, before: string, after: string): Promise<PassphraseChange> {
  const options = { random: (size: number) => randomBytes(size) };
  const opened = await openRepositoryFormat(inside, after).catch((error: unknown) => {
    if (isHoldfastError(error, 'PASSPHRASE_WRONG')) return null;
    throw error;
  });
  if (opened === null) {
    await changePassphrase(inside, await openRepositoryFormat(inside, before), after, options);
    return 'changed';
  }
  // Interrupted between the new slot and the end of the old one, which still opens with the old passphrase.
  if ((await keySlots(inside)) > 1) await changePassphrase(inside, opened, after, options);
  return 'was changed before';
}

export async function changeStorePassphrase(
  session: Session,
  record: StoreRecord,
  references: { readonly new: string; readonly old?: string },
): Promise<void> {
  const home = await session.home();
  const before = await resolvePassphrase(references.old ?? record.passphrase, session.variables);
  const after = await resolvePassphrase(references.new, session.variables);
  const store = await home.store(record.name);
  const rewrap = async (names: readonly string[], prefixOf: (name: string) => string) => {
    const changed: { readonly name: string; readonly change: PassphraseChange }[] = [];
    for (const name of names) {
      const change = await changeRepositoryPassphrase(within(store, prefixOf(name)), before, after);
      changed.push({ name, change });
      session.say(`${prefixOf(name).slice(0, -1)}: ${change}`);
    }
    return changed;
  };
  const repositories = await rewrap(await repositoriesIn(store), repositoryPrefix);
  const tables = await rewrap(await archivesIn(store), tablePrefix);
  await home.catalog.append((state) => {
    const now = state.stores.get(record.name);
    return now === undefined || now.passphrase === references.new
      ? null
      : { kind: 'STORE_SET', store: { ...now, passphrase: references.new } };
  });
  await home.forget(record.name);
  session.print(
    {
      ...{ store: record.name, passphrase: references.new },
      repositories: repositories.map(({ name, change }) => ({ repository: name, change })),
      tables: tables.map(({ name, change }) => ({ table: name, change })),
    },
    () => `the passphrase of ${record.name} is now ${references.new}; the old one opens nothing any more\n`,
  );
  session.say(
    'a new recovery sheet: `holdfast store show NAME --sheet FILE`; workers that lack what it refers to have to be started again',
  );
}
