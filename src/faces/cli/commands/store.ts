/** `holdfast store`: which stores there are. A store is raced before it is trusted with anything (admission). */
import { writeFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Command } from 'commander';
import { HoldfastError } from '../../../domain/errors.ts';
import { storeName, type StoreName } from '../../../domain/ids.ts';
import type { StoreRecord } from '../../../engine/catalog/catalog.ts';
import { passphraseReference, storeUrl, variableName } from '../arguments.ts';
import { formatBytes, parseBytes } from '../quantities.ts';
import { recoverySheet } from '../recovery-sheet.ts';
import type { ObjectStore } from '../../../ground/stores/object-store.ts';
import type { Session } from '../session.ts';
import { renderFields, renderTable } from '../table.ts';

interface AddOptions {
  readonly passphrase: string;
  readonly endpoint?: string;
  readonly region?: string;
  readonly accessKeyEnv?: string;
  readonly secretKeyEnv?: string;
  readonly codec: string;
  readonly bandwidth?: number;
  readonly sheet?: string;
}

function recordOf(name: StoreName, url: string, options: AddOptions): StoreRecord {
  const { accessKeyEnv, secretKeyEnv, endpoint, region, passphrase, codec, bandwidth } = options;
  if ((accessKeyEnv === undefined) !== (secretKeyEnv === undefined))
    throw new HoldfastError('ARGUMENT_INVALID', 'half of the credentials is named', {
      field: accessKeyEnv === undefined ? '--access-key-env' : '--secret-key-env',
      expected: 'both names, or neither: then they are found as the AWS SDK finds them',
    });
  return {
    name,
    url,
    endpoint: endpoint ?? null,
    region: region ?? null,
    credentials:
      accessKeyEnv === undefined || secretKeyEnv === undefined ? null : { accessKeyIdEnv: accessKeyEnv, secretAccessKeyEnv: secretKeyEnv },
    passphrase,
    codec,
    bytesPerSecondMax: bandwidth ?? null,
  };
}

function codec(text: string): string {
  if (/^(raw|zstd-(?:[1-9]|1[0-9]))$/.test(text)) return text;
  throw new HoldfastError('ARGUMENT_INVALID', `codec ${JSON.stringify(text.slice(0, 40))} is not known`, {
    field: '--codec',
    expected: 'raw, or zstd-1 to zstd-19',
  });
}

/** Where the objects lie: what two records of one store have in common. */
const placeOf = async ({ url, endpoint }: StoreRecord) => {
  const { parseStoreAddress } = await import('../../../ground/stores/store-address.ts');
  const address = parseStoreAddress(url);
  return address.kind !== 's3'
    ? address
    : { kind: address.kind, bucket: address.bucket, prefix: address.prefix, endpoint: address.endpoint ?? endpoint };
};

/** Opens the store of a record as it is written there and tries it. */
async function admit(session: Session, record: StoreRecord, create: boolean) {
  const [{ openStore }, { admitStore }] = await Promise.all([
    import('../../../ground/stores/open-store.ts'),
    import('../../../ground/stores/admission.ts'),
  ]);
  session.say(`racing ${record.url}: it has to name one winner each time`);
  await using store = await openStore(record.url, {
    name: record.name,
    environment: session.variables,
    create,
    ...(record.credentials ? { credentials: record.credentials } : {}),
    ...(record.endpoint === null ? {} : { endpoint: record.endpoint }),
    ...(record.region === null ? {} : { region: record.region }),
  });
  await refuseBehindReplica(store, record.url);
  return await admitStore(store, { lifecycle: () => store.lifecycle() });
}

/** What is put past a replica, it does not see. Of a replica itself the marks are hidden. */
async function refuseBehindReplica(store: ObjectStore, url: string): Promise<void> {
  const { newestMark } = await import('../../../systems/regions/replica/mark.ts');
  const mark = await newestMark(store);
  if (mark === null || mark.state === 'released') return;
  throw new HoldfastError(
    'STORE_UNFIT',
    `a replica stands before ${url}, on ${mark.host}: its address is to be used, or it is to be released first`,
    {
      ...{ url, host: mark.host, epoch: mark.epoch },
    },
  );
}

async function add(session: Session, name: StoreName, url: string, options: AddOptions): Promise<void> {
  const record = recordOf(name, url, options);
  const place = await placeOf(record);
  const [{ requireAdmitted }, { resolvePassphrase }] = await Promise.all([
    import('../../../ground/stores/admission.ts'),
    import('../../../ground/sealing/passphrase.ts'),
  ]);
  await resolvePassphrase(record.passphrase, session.variables);
  const { catalog } = await session.home();
  for (const known of (await catalog.sync()).stores.values()) {
    if (known.name !== name && !isDeepStrictEqual(await placeOf(known), place)) continue;
    const what = known.name === name ? `store ${name} is in the catalog` : `store ${known.name} has the same address`;
    throw new HoldfastError('STORE_EXISTS', what, { store: known.name });
  }
  const report = await admit(session, record, true);
  requireAdmitted(report, record.url);
  await catalog.append(() => ({ kind: 'STORE_ADD', store: record }));
  const sheet = recoverySheet(record, Date.now());
  if (options.sheet !== undefined) await writeSheet(options.sheet, sheet);
  session.print({ store: record, checks: report.checks, sheet }, () => `store ${name} is added\n\n${sheet}`);
  if (record.passphrase.startsWith('env:'))
    session.say(`workers that were started without ${record.passphrase.slice(4)} in their environment have to be started again with it`);
}

const writeSheet = (path: string, sheet: string): Promise<void> =>
  writeFile(path, sheet, { mode: 0o600 }).catch((cause: unknown) => {
    throw new HoldfastError('ARGUMENT_INVALID', `the sheet cannot be written to ${path}`, { field: '--sheet' }, cause);
  });

async function find(session: Session, name: StoreName): Promise<StoreRecord> {
  const { findStore } = await import('../../../engine/catalog/catalog.ts');
  return findStore(await (await session.home()).catalog.sync(), name);
}

async function list(session: Session): Promise<void> {
  const state = await (await session.home()).catalog.sync();
  const volumesOf = (name: StoreName): number =>
    [...state.volumes.values()].filter((volume) => !volume.retired && volume.stores.includes(name)).length;
  const stores = [...state.stores.values()].map((store) => ({ ...store, volumes: volumesOf(store.name) }));
  session.print(stores, () =>
    renderTable(
      [
        { title: 'STORE', cell: (store) => store.name },
        { title: 'ADDRESS', cell: (store) => store.url },
        { title: 'VOLUMES', align: 'right', cell: (store) => String(store.volumes) },
        { title: 'CODEC', cell: (store) => store.codec },
        { title: 'PASSPHRASE', cell: (store) => store.passphrase },
      ],
      stores,
      'no stores yet; `holdfast store add NAME URL --passphrase REF` adds one',
    ),
  );
}

async function show(session: Session, name: StoreName, { sheet: file }: { readonly sheet?: string }): Promise<void> {
  const record = await find(session, name);
  const sheet = recoverySheet(record, Date.now());
  if (file !== undefined) await writeSheet(file, sheet);
  const state = await (await session.home()).catalog.sync();
  const repositories = [...state.repositories].filter(([key]) => key.startsWith(`${name}/`)).map(([key]) => key.slice(name.length + 1));
  session.print(
    { ...record, repositories, sheet },
    () =>
      renderFields([
        ['store', record.name],
        ['address', record.url],
        ['endpoint', record.endpoint],
        ['region', record.region],
        ['credentials', record.credentials && `${record.credentials.accessKeyIdEnv}, ${record.credentials.secretAccessKeyEnv}`],
        ['passphrase', record.passphrase],
        ['codec', record.codec],
        ['bandwidth', record.bytesPerSecondMax === null ? null : `${formatBytes(record.bytesPerSecondMax)}/s`],
        ['repositories', repositories.join(', ') || 'none yet'],
      ]) + (file === undefined ? '' : `recovery sheet written to ${file}\n`),
  );
}

async function check(session: Session, name: StoreName): Promise<void> {
  const { requireAdmitted } = await import('../../../ground/stores/admission.ts');
  const record = await find(session, name);
  const report = await admit(session, record, false);
  session.print({ store: name, ...report }, () =>
    renderTable(
      [
        { title: 'CHECK', cell: ({ name: what }) => what },
        { title: 'OK', cell: ({ ok }) => (ok ? 'yes' : 'NO') },
        { title: 'FOUND', cell: ({ detail }) => detail },
      ],
      report.checks,
      'nothing was checked',
    ),
  );
  requireAdmitted(report, record.url);
}

async function remove(session: Session, name: StoreName): Promise<void> {
  const { catalog } = await session.home();
  const { url } = await find(session, name);
  await catalog.append((state) => (state.stores.has(name) ? { kind: 'STORE_REMOVE', name } : null));
  session.print({ removed: name, url }, () => `store ${name} is no longer known; what it holds at ${url} is untouched\n`);
}

export function addStoreCommands(program: Command, session: Session): void {
  const store = program.command('store').description('the places where snapshots are kept').helpGroup('Set up:');
  store
    .command('add')
    .description('race a store, and add it when it keeps the guarantees; prints its recovery sheet')
    .argument('<name>', 'a name for it', storeName)
    .argument('<url>', 'file:///dir, /dir, s3://bucket/prefix, or replicas://host:port', storeUrl)
    .requiredOption('--passphrase <ref>', 'env:NAME, file:/path or command:...', passphraseReference)
    .option('--endpoint <url>', 'of an S3 server that is not Amazon')
    .option('--region <name>', 'of the bucket')
    .option('--access-key-env <name>', 'variable that holds the access key id', variableName('--access-key-env'))
    .option('--secret-key-env <name>', 'variable that holds the secret access key', variableName('--secret-key-env'))
    .option('--codec <codec>', 'raw, or zstd-1 to zstd-19', codec, 'zstd-1')
    .option('--bandwidth <bytes>', 'at most so many bytes a second are sent, as in 20M', parseBytes('--bandwidth'))
    .option('--sheet <file>', 'write the recovery sheet there, too')
    .addHelpText('after', EXAMPLES)
    .action((name: StoreName, url: string, options: AddOptions) => add(session, name, url, options));
  store
    .command('list')
    .description('all stores')
    .action(() => list(session));
  store
    .command('show')
    .description('one store')
    .argument('<name>', 'of the store', storeName)
    .option('--sheet <file>', 'write its recovery sheet there')
    .action((name: StoreName, options: { readonly sheet?: string }) => show(session, name, options));
  store
    .command('check')
    .description('race a store again')
    .argument('<name>', 'of the store', storeName)
    .action((name: StoreName) => check(session, name));
  store
    .command('remove')
    .description('forget a store that no volume ships to; what it holds stays')
    .argument('<name>', 'of the store', storeName)
    .action((name: StoreName) => remove(session, name));
  store
    .command('passphrase')
    .description('change the passphrase of every repository of a store; can be given again when it was interrupted')
    .argument('<name>', 'of the store', storeName)
    .requiredOption('--new <ref>', 'env:NAME, file:/path or command:...', passphraseReference)
    .option('--old <ref>', 'the one in force, when it is not where the catalog says', passphraseReference)
    .action(async (name: StoreName, options: { readonly new: string; readonly old?: string }) => {
      const { changeStorePassphrase } = await import('../store-passphrase.ts');
      await changeStorePassphrase(session, await find(session, name), options);
    });
}

const EXAMPLES = `
Examples:
  holdfast store add local /srv/backup --passphrase file:/etc/holdfast/passphrase
  holdfast store add cloud 's3://bucket/holdfast?region=eu-central-1' --passphrase env:HOLDFAST_PASSPHRASE --bandwidth 20M
  holdfast store add minio s3://backup --endpoint http://127.0.0.1:9000 --passphrase 'command:pass show backup' \\
      --access-key-env MINIO_KEY --secret-key-env MINIO_SECRET --sheet recovery.txt`;
