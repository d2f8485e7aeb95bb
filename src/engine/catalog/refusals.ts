/**
 * What stands against an entry of the catalog, by what is in it then: names are taken once, what is pointed to is there, and what something
 * else points to is not removed. Asked before an entry is written, of the state that it would follow; what is in the log all the same
 * is ignored when it is folded.
 */
import { HoldfastError } from '../../domain/errors.ts';
import type { StoreName } from '../../domain/ids.ts';
import { journalNameRefusal } from '../../domain/journal-name.ts';
import type { TokenRecord } from '../replication/tokens.ts';
import type { CatalogEntry, CatalogState } from './catalog.ts';
import { eventsNotConfigured } from './events.ts';
import { pointNameRefusal, protectionNotFound, type ProtectionRecord } from './protections.ts';
import { receiverNotFound } from './receivers.ts';
import { policyKey, policyNotFound } from './replication-policies.ts';
import { journalTaken, streamRefusal, type StreamRecord } from './streams.ts';
import { tableNotFound, type TableDefinition } from './tables.ts';
import { triggerNotFound, triggerRefusal } from './triggers.ts';

/**
 * Of two prefixes of a store of which one begins the other, names below the longer are below both. The same prefix twice is two tokens of
 * one sender, and none at all is all of the store: both are meant.
 */
function sharedNameSpace(state: CatalogState, { store, prefix }: TokenRecord): HoldfastError | null {
  const other = [...state.tokens.values()].find(
    (token) =>
      token.store === store &&
      token.prefix !== '' &&
      prefix !== '' &&
      token.prefix !== prefix &&
      (token.prefix.startsWith(prefix) || prefix.startsWith(token.prefix)),
  );
  return other === undefined
    ? null
    : new HoldfastError('ARGUMENT_INVALID', `the prefix ${other.prefix} of token ${other.id} would share names with ${prefix}`, {
        field: 'prefix',
        expected: 'a prefix that begins no other one, and that no other one begins',
      });
}

const unknownStoreOf = (state: CatalogState, { store }: TableDefinition): HoldfastError | null =>
  state.stores.has(store) ? null : new HoldfastError('STORE_NOT_FOUND', `no store ${store}`, { store });

/** An archive has one form for good, for its events were decoded by it. */
function changedForm(state: CatalogState, { name, form }: TableDefinition): HoldfastError | null {
  const before = state.tables.get(name);
  if (before === undefined) return tableNotFound(name);
  return JSON.stringify(before.form) === JSON.stringify(form)
    ? null
    : new HoldfastError('ARGUMENT_INVALID', `table ${name} is archived in another form`, {
        field: 'form',
        expected: `${JSON.stringify(before.form)}; another form is another table`,
      });
}

/** Null: it may be written. */
export function refusal(state: CatalogState, entry: CatalogEntry): HoldfastError | null {
  switch (entry.kind) {
    case 'STORE_ADD':
      return state.stores.has(entry.store.name)
        ? new HoldfastError('STORE_EXISTS', `store ${entry.store.name} is in the catalog`, { store: entry.store.name })
        : null;
    case 'STORE_SET':
      return state.stores.has(entry.store.name)
        ? null
        : new HoldfastError('STORE_NOT_FOUND', `no store ${entry.store.name}`, { store: entry.store.name });
    case 'STORE_REMOVE': {
      const user = [...state.volumes.values()].find((volume) => !volume.retired && volume.stores.includes(entry.name));
      const token = [...state.tokens.values()].find(({ store }) => store === entry.name);
      const table = [...state.tables.values()].find(({ store }) => store === entry.name);
      const protection = [...state.protections.values()].find((one) => storesOfProtection(one).includes(entry.name));
      const stream = [...state.streams.values()].find((one) => storesOfStream(one).includes(entry.name));
      const journal = protection ?? stream;
      if (!state.stores.has(entry.name)) return new HoldfastError('STORE_NOT_FOUND', `no store ${entry.name}`, { store: entry.name });
      if (user)
        return new HoldfastError('STORE_EXISTS', `volume ${user.name} still ships to ${entry.name}`, {
          store: entry.name,
          volume: user.name,
        });
      if (journal)
        return new HoldfastError('STORE_EXISTS', `journal ${journal.journal} is still kept in ${entry.name}`, {
          store: entry.name,
          journal: journal.journal,
        });
      if (table)
        return new HoldfastError('STORE_EXISTS', `table ${table.name} is still archived to ${entry.name}`, {
          store: entry.name,
          table: table.name,
        });
      return token
        ? new HoldfastError('STORE_EXISTS', `token ${token.id} still lets others replicate to ${entry.name}`, {
            store: entry.name,
            token: token.id,
          })
        : null;
    }
    case 'VOLUME_ADD': {
      const there = state.volumes.get(entry.volume.name);
      if (there && !there.retired)
        return new HoldfastError('VOLUME_EXISTS', `volume ${entry.volume.name} is in the catalog`, { volume: entry.volume.name });
      const unknown = entry.volume.stores.find((store) => !state.stores.has(store));
      return unknown ? new HoldfastError('STORE_NOT_FOUND', `no store ${unknown}`, { store: unknown }) : null;
    }
    case 'VOLUME_SET':
    case 'VOLUME_RETIRE': {
      const volume = entry.kind === 'VOLUME_SET' ? entry.volume.name : entry.name;
      return state.volumes.has(volume) ? null : new HoldfastError('VOLUME_NOT_FOUND', `no volume ${volume}`, { volume });
    }
    case 'RECEIVER_ADD':
      return state.receivers.has(entry.receiver.name)
        ? new HoldfastError('RECEIVER_EXISTS', `receiver ${entry.receiver.name} is in the catalog`, { receiver: entry.receiver.name })
        : null;
    case 'RECEIVER_SET':
    case 'RECEIVER_REMOVE': {
      const receiver = entry.kind === 'RECEIVER_SET' ? entry.receiver.name : entry.name;
      if (!state.receivers.has(receiver)) return receiverNotFound(receiver);
      const policy = [...state.policies.values()].find((one) => one.receiver === receiver);
      return entry.kind === 'RECEIVER_REMOVE' && policy
        ? new HoldfastError('RECEIVER_EXISTS', `volume ${policy.volume} is still replicated to ${receiver}`, {
            receiver,
            volume: policy.volume,
          })
        : null;
    }
    case 'REPLICATE_SET': {
      const { receiver, volume, from } = entry.policy;
      if (!state.receivers.has(receiver)) return receiverNotFound(receiver);
      if (!state.volumes.has(volume)) return new HoldfastError('VOLUME_NOT_FOUND', `no volume ${volume}`, { volume });
      return from === null || state.stores.has(from) ? null : new HoldfastError('STORE_NOT_FOUND', `no store ${from}`, { store: from });
    }
    case 'REPLICATE_REMOVE':
      return state.policies.has(policyKey(entry)) ? null : policyNotFound(entry.receiver, entry.volume);
    case 'TOKEN_ADD':
      if (state.tokens.has(entry.token.id)) return new HoldfastError('RECORD_REFUSED', `token ${entry.token.id} is in the catalog`);
      if (!state.stores.has(entry.token.store))
        return new HoldfastError('STORE_NOT_FOUND', `no store ${entry.token.store}`, { store: entry.token.store });
      return sharedNameSpace(state, entry.token);
    case 'TABLE_ADD':
      return state.tables.has(entry.table.name)
        ? new HoldfastError('TABLE_EXISTS', `table ${entry.table.name} is in the catalog`, { table: entry.table.name })
        : unknownStoreOf(state, entry.table);
    case 'TABLE_SET':
      return changedForm(state, entry.table) ?? unknownStoreOf(state, entry.table);
    case 'TABLE_REMOVE':
      return state.tables.has(entry.name) ? null : tableNotFound(entry.name);
    case 'TOKEN_REMOVE':
      return state.tokens.has(entry.id)
        ? null
        : new HoldfastError('ARGUMENT_INVALID', `no token ${entry.id}`, { field: 'token', expected: 'the id of a token in the catalog' });
    case 'EVENTS_REMOVE':
      return state.events === null ? eventsNotConfigured() : null;
    case 'TRIGGER_ADD':
      return state.events === null ? eventsNotConfigured() : triggerRefusal(state, entry.trigger, state.events.topic);
    case 'TRIGGER_REMOVE':
      return state.triggers.has(entry.name) ? null : triggerNotFound(entry.name);
    case 'PROTECTION_SET':
      return (
        unknownStoreIn(state, storesOfProtection(entry.protection)) ??
        journalNameRefusal(entry.protection.journal) ??
        journalTaken(entry.protection.journal, state.streams, 'the journal of a stream')
      );
    case 'PROTECTION_MOVED':
    case 'PROTECTION_TESTED':
    case 'PROTECTION_STATE':
    case 'PROTECTION_REMOVE':
      return state.protections.has(entry.journal) ? null : protectionNotFound(entry.journal);
    case 'POINT_NAMED':
      return pointNameRefusal(state, entry);
    case 'REGION_LOST':
    case 'REGION_BACK':
      return state.protections.has(entry.journal) || state.streams.has(entry.journal) ? null : protectionNotFound(entry.journal);
    case 'STREAM_SET':
      return unknownStoreIn(state, storesOfStream(entry.stream)) ?? streamRefusal(state, entry.stream);
    case 'STREAM_REMOVE':
      return state.streams.has(entry.journal) ? null : protectionNotFound(entry.journal);
    default:
      return null;
  }
}

const storesOfProtection = ({ log, members }: ProtectionRecord): readonly StoreName[] => [log, ...members.map(({ region }) => region)];
const storesOfStream = ({ log, regions }: StreamRecord): readonly StoreName[] => [log, ...regions.map(({ region }) => region)];

function unknownStoreIn(state: CatalogState, names: readonly StoreName[]): HoldfastError | null {
  const unknown = names.find((store) => !state.stores.has(store));
  return unknown === undefined ? null : new HoldfastError('STORE_NOT_FOUND', `no store ${unknown}`, { store: unknown });
}
