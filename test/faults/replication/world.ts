/**
 * The world of one run: two installations that know nothing of each other, a source with its volumes and a receiver's with an
 * empty repository, each in a folder of its own; and what only a test may have, the receiver's files to be harmed.
 *
 * Repositories are made with a passphrase that costs nothing, so that a run of several processes is not scrypt.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { repositoryName, storeName, volumeName, type SnapshotId } from '../../../src/domain/ids.ts';
import { CATALOG_PREFIX, openStoreOf, repositoryPrefix, type Home } from '../../../src/engine/catalog/home.ts';
import { ensureRepository } from '../../../src/engine/repository/format.ts';
import type { Snapshot } from '../../../src/engine/repository/ledger.ts';
import { packNameOf } from '../../../src/engine/repository/object-names.ts';
import type { Repository } from '../../../src/engine/repository/repository.ts';
import { subtreeCount, valuesOf } from '../../../src/engine/repository/transfer-reader.ts';
import { mintToken, tokenRecord } from '../../../src/engine/replication/tokens.ts';
import { initialiseFileStore } from '../../../src/ground/stores/file-root.ts';
import { openStore } from '../../../src/ground/stores/open-store.ts';
import { within } from '../../../src/ground/stores/within.ts';
import type { Threads } from '../../../src/ground/threads/threads.ts';
import { harm, type Damage } from '../../engine/replication/receiving/harm.ts';
import { captureVolume } from '../../systems/capture-volume.ts';
import { digestOfImage, writeExtents } from '../../systems/image.ts';
import { environmentOf, HOST, openHomeIn, PASSPHRASE, storeRecordOf } from '../../systems/installation.ts';
import type { Dice } from '../volumes/dice.ts';
import { EXTENT_BYTES, type VolumePlan } from './script.ts';

export const HERE = storeName('here');
export const THERE = storeName('there');
export const SOURCE = repositoryName('source');
export const VAULT = repositoryName('vault');
export const PREFIX = 'from-';

/** A snapshot of the source, and what there is to compare it with. */
export interface Taken {
  readonly volume: string;
  readonly snapshot: Snapshot;
  readonly names: ReadonlySet<string>;
  readonly digest: string;
}

export interface World extends AsyncDisposable {
  /** Of the two installations. */
  readonly sender: string;
  readonly receiver: string;
  readonly variables: NodeJS.ProcessEnv;
  readonly token: { readonly secret: string; readonly record: string };
  readonly threads: Threads;
  capture(plan: VolumePlan, number: number): Promise<Taken>;
  /** The receiver's repository as this process sees it now. */
  vault(): Promise<Repository>;
  /** A home on the receiver's installation with a cache that knows nothing. */
  openCold(): Promise<Home>;
  /** Harms so many of the receiver's packs, at least one, and one that holds something of these names if there is any; their names. */
  harm(damage: Damage, percent: number, names: ReadonlySet<string>, dice: Dice): Promise<readonly string[]>;
  /** Names that the receiver's table counts in packs that were harmed, now or at any earlier look. */
  lostNames(): Promise<ReadonlySet<string>>;
  /** Puts back what was harmed, as it was. */
  mend(): void;
}

const CHEAP = { random: randomBytes, scryptN: 2 };
const RETRY = { attempts: 3, baseDelayMs: 20 };

/** A home with one store that has one repository. */
async function makeSite(folder: string, store: typeof HERE, repository: typeof SOURCE, variables: NodeJS.ProcessEnv): Promise<Home> {
  mkdirSync(folder);
  const environment = environmentOf('campaign', () => undefined);
  await using homeStore = await openStore(`file://${path.join(folder, 'home')}`, { create: true, durability: 'os' });
  await ensureRepository(within(homeStore, CATALOG_PREFIX), 'catalog', PASSPHRASE, Date.now(), CHEAP);
  const home = await openHomeIn(folder, variables, environment, { cacheDir: path.join(folder, 'cache.campaign'), retry: RETRY });
  const root = path.join(folder, 'stores', store);
  await initialiseFileStore(root);
  const record = storeRecordOf(store, `file://${root}`);
  await home.catalog.append(() => ({ kind: 'STORE_ADD', store: record }));
  await using opened = await openStoreOf(record, { url: '', passphrase: '', cacheDir: '', variables, environment, durability: 'os' });
  await ensureRepository(within(opened, repositoryPrefix(repository)), repository, PASSPHRASE, Date.now(), CHEAP);
  return home;
}

export async function makeWorld(plans: readonly VolumePlan[], threads: Threads): Promise<World> {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-replication-'));
  const [sender, receiver] = [path.join(folder, 'sender'), path.join(folder, 'receiver')];
  const compiled = path.join(tmpdir(), 'hf-faults-compiled');
  const variables = { ...process.env, HOLDFAST_PASSPHRASE: PASSPHRASE, NODE_COMPILE_CACHE: compiled };
  const [here, there] = await Promise.all([makeSite(sender, HERE, SOURCE, variables), makeSite(receiver, THERE, VAULT, variables)]);
  const imageOf = (name: string): string => path.join(sender, `${name}.img`);
  for (const { name, sizeBytes } of plans) {
    writeExtents(imageOf(name), sizeBytes, EXTENT_BYTES, []);
    await here.catalog.append(() => ({
      kind: 'VOLUME_ADD',
      volume: {
        ...{ name: volumeName(name), incarnation: 1, node: HOST, path: imageOf(name), extentBytes: EXTENT_BYTES },
        ...{ stores: [HERE], repository: SOURCE, retired: false },
      },
    }));
  }
  const { token, id, digest } = mintToken(randomBytes);
  const record = tokenRecord.parse({
    ...{ id, digest, store: THERE, repository: VAULT, prefix: PREFIX, rights: ['add'], quotaBytes: null },
    ...{ retentionFloorMs: null, proof: 'listed', untilMs: null, certificate: null },
  });
  const packsFolder = path.join(receiver, 'stores', THERE, 'repositories');
  const harmed = new Map<string, Buffer>();
  const lost = new Set<string>();
  const vault = async (): Promise<Repository> => {
    const repository = await there.repository(THERE, VAULT);
    await repository.sync();
    return repository;
  };
  let colds = 0;

  return {
    ...{ sender, receiver, variables, threads, vault },
    token: { secret: token, record: JSON.stringify(record) },
    async capture({ name, sizeBytes, snapshots }, number) {
      writeExtents(imageOf(name), sizeBytes, EXTENT_BYTES, snapshots[number] ?? []);
      const id = await captureVolume(here, threads, name);
      const repository = await here.repository(HERE, SOURCE);
      const snapshot = (await repository.sync()).snapshots.get(id);
      if (snapshot === undefined) throw new Error(`no snapshot ${id}`);
      return { volume: name, snapshot, names: await namesIn(repository, snapshot), digest: digestOfImage(imageOf(name)) };
    },
    openCold: () =>
      openHomeIn(
        receiver,
        variables,
        environmentOf('examination', () => undefined),
        {
          cacheDir: path.join(receiver, `cache.cold.${colds++}`),
          retry: RETRY,
        },
      ),
    async harm(damage, percent, names, dice) {
      const { table } = await vault();
      const hit = new Set([...names].flatMap((name) => table.get(Buffer.from(name, 'hex'))?.location.pack ?? []).map(fileNameOf));
      const packs = filesIn(packsFolder)
        .filter((file) => /-p[0-9a-f]{4}$/.test(file) && !harmed.has(file))
        .map((file) => ({ file, rank: dice.random() }))
        .sort((a, b) => a.rank - b.rank)
        .map(({ file }) => file);
      const first = packs.find((file) => hit.has(path.basename(file)));
      const chosen = [...(first === undefined ? [] : [first]), ...packs.filter((file) => file !== first)];
      return chosen.slice(0, Math.max(1, Math.round((packs.length * percent) / 100))).flatMap((file) => {
        // One that is swept at this very moment is lost anyway.
        if (!existsSync(file)) return [];
        harmed.set(file, readFileSync(file));
        harm(file, damage);
        return [path.basename(file)];
      });
    },
    async lostNames() {
      if (harmed.size === 0) return lost;
      const packs = new Set([...harmed.keys()].map((file) => path.basename(file)));
      for (const { fingerprint, location } of (await vault()).table.rows())
        if (packs.has(fileNameOf(location.pack))) lost.add(fingerprint.toString('hex'));
      return lost;
    },
    mend() {
      for (const [file, bytes] of harmed) if (existsSync(path.dirname(file))) writeFileSync(file, bytes);
    },
    async [Symbol.asyncDispose]() {
      await here[Symbol.asyncDispose]();
      await there[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function namesIn(repository: Repository, snapshot: Snapshot): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  for (let subtree = 0; subtree < subtreeCount(snapshot.sizeBytes, snapshot.extentBytes); subtree++)
    for await (const { fingerprint } of valuesOf(repository, snapshot, subtree)) names.add(fingerprint.toString('hex'));
  return names;
}

const fileNameOf = (pack: Buffer): string => path.basename(packNameOf(pack));

const filesIn = (folder: string): string[] =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) =>
        entry.isFile() ? [path.join(entry.parentPath, entry.name)] : [],
      )
    : [];

export const idOf = ({ snapshot }: Taken): SnapshotId => snapshot.id;
