/** What takes part in a run: hosts with their disk servers and whoever loads their disks, and what is known of them. */
import type { GroupWanted } from '../../../src/engine/volumes/disks/group-record.ts';
import { storeName } from '../../../src/domain/ids.ts';
import type { ProtectionWorld } from '../../systems/protection/protection-world.ts';
import type { Dice } from '../volumes/dice.ts';
import type { Patch } from '../../simulation/patches.ts';
import type { FaultServer } from '../server.ts';
import type { Counts } from './counts.ts';
import { createFio, type Fio } from './fio.ts';
import { BLOCK } from './history.ts';
import { createNode, startLoader, type Loader, type Node } from './processes.ts';
import type { Script } from './script.ts';
import type { HostLinks, World } from './world.ts';

/** A host with its disk server and whoever loads its disks. */
export interface Site {
  readonly name: string;
  readonly host: ProtectionWorld;
  readonly links: HostLinks;
  readonly node: Node;
  readonly loader: Loader;
  /** Null: it has no disk in this run. */
  readonly fio: Fio | null;
  readonly history: string;
}

export interface Scene {
  readonly script: Script;
  readonly world: World;
  readonly server: FaultServer;
  readonly counts: Counts;
  readonly note: (line: string) => void;
  readonly dice: Dice;
  /** Of its disks. */
  readonly sizes: readonly number[];
  readonly one: Site;
  /** Where it is gone on when somebody has taken over; null: the script has no such thing. */
  readonly two: Site | null;
  readonly seen: Seen;
}

/** The most that the first owner has said of itself. */
export interface Seen {
  closed: number;
  acknowledged: number;
}

const DISKS = [
  { name: 'one', sizeBytes: 384 * BLOCK },
  { name: 'two', sizeBytes: 256 * BLOCK },
];
const FIO = { name: 'fio', sizeBytes: 256 * BLOCK };
/** Beyond what the first one can ask for. */
const IDS_OF_THE_SECOND = 1_000_000_000;

type Disk = (typeof DISKS)[number];

/** Those that have a history. They come first. */
export const loadedOf = ({ disks }: Pick<Script, 'disks'>): readonly Disk[] => DISKS.slice(0, disks);

export const disksOf = (script: Pick<Script, 'disks' | 'fio'>): readonly Disk[] => [...loadedOf(script), ...(script.fio ? [FIO] : [])];

export interface Raising {
  readonly script: Script;
  readonly world: World;
  readonly name: string;
  readonly note: (line: string) => void;
  readonly onViolation: (error: unknown) => void;
  readonly patches: readonly Patch[];
}

export async function raiseSite({ script, world, name, note, onViolation, patches }: Raising): Promise<Site> {
  const { seed, batchMs, memberMsMax, heldBytesMax, depth, kills } = script;
  const isFirst = name === 'n1';
  const { variables } = world;
  const host = world.host(name);
  const links = await world.link(name);
  const { folder } = host;
  const process = { variables, note, onViolation };
  const clockOffsetMs = isFirst ? 0 : script.otherClockMs;
  const ledger = isFirst && kills.some(({ machine }) => machine);
  const limits = { batchMs, memberMsMax, heldBytesMax: isFirst ? heldBytesMax : null };
  const node = createNode({ ...limits, folder, hostName: name, stores: links.stores, clockOffsetMs, ledger, patches }, process);
  const history = `${folder}/history`;
  const disks = loadedOf(script).map((disk) => ({ uri: uriOf(folder, disk.name), blocks: disk.sizeBytes / BLOCK }));
  const loader = startLoader({ history, seed, depth, disks, firstId: isFirst ? 0 : IDS_OF_THE_SECOND }, process);
  await node.start();
  const fio = script.fio && isFirst ? createFio(uriOf(folder, FIO.name), seed, folder) : null;
  return { name, host, links, node, loader, fio, history };
}

const uriOf = (folder: string, disk: string): string => `nbd+unix:///${disk}?socket=${folder}/disks/nbd.sock`;

export function groupOf({ script }: Pick<Scene, 'script'>, host: ProtectionWorld): GroupWanted {
  const disks = disksOf(script).map(({ name }) => name);
  const group = host.group(disks, { mode: script.mode });
  return script.spare ? { ...group, members: [...group.members, { region: storeName('c'), domain: 'site-c' }] } : group;
}
