/**
 * The store behind a replica, opened as every worker opens one.
 *
 * Before a new replica trusts it with anything it is raced, as `holdfast store add` does: clients race the replica, and nobody else would race what
 * lies behind it. A folder is made a store then and never again, for an empty mount point must not pass for one.
 */
import { access } from 'node:fs/promises';
import { HoldfastError } from '../../../domain/errors.ts';
import type { Variables } from '../../../ground/configuration/configuration.ts';
import { admitStore, requireAdmitted } from '../../../ground/stores/admission.ts';
import { hasErrno } from '../../../ground/stores/file-errors.ts';
import type { StoreMetrics } from '../../../ground/stores/measured.ts';
import { openStore, type OpenedStore } from '../../../ground/stores/open-store.ts';
import { parseStoreAddress } from '../../../ground/stores/store-address.ts';
import type { ReplicaConfiguration } from './configuration.ts';

/** STORE_UNFIT, STORE_UNREACHABLE, ARGUMENT_INVALID. */
export async function openBehind(
  { behind, folder, limits }: Pick<ReplicaConfiguration, 'behind' | 'folder' | 'limits'>,
  variables: Variables,
  metrics?: StoreMetrics,
): Promise<OpenedStore> {
  const { url, endpoint, region, credentials } = behind;
  if (parseStoreAddress(url).kind === 'replica')
    throw new HoldfastError('ARGUMENT_INVALID', 'a replica does not stand before another one', { field: '--store', expected: 'a store' });
  const isNew = !(await isThere(folder.index));
  const store = await openStore(url, {
    ...{ name: 'behind', environment: variables, create: isNew },
    // Those who read are not to wait for what is moved.
    limits: { concurrency: 2 * limits.lanes },
    ...(credentials === null ? {} : { credentials }),
    ...(endpoint === null ? {} : { endpoint }),
    ...(region === null ? {} : { region }),
    ...(metrics === undefined ? {} : { metrics }),
  });
  if (!isNew) return store;
  await using stack = new AsyncDisposableStack();
  stack.use(store);
  requireAdmitted(await admitStore(store, { lifecycle: () => store.lifecycle() }), url);
  stack.move();
  return store;
}

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false;
    throw error;
  }
}
