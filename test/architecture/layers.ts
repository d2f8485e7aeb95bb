/**
 * The layers of docs/architecture.md section 2 as one table, and the judge of a single import.
 *
 *     src/domain <- src/ground <- src/engine <- src/systems <- activities <- workers
 *                                                    ^
 *     workflows -> src/domain (activities: types)    src/faces (workflows, activities: types)
 *
 * The path of a file decides its layer, so moving a file is enough to change what it may import. Three rules go beyond
 * "downwards only": a system never imports a system (what two of them need sinks to the engine); src/domain and workflows
 * run in Temporal's sandbox and therefore see no Node built-ins and only the packages named; and everything up to
 * src/systems knows nothing of Temporal, which is what makes `rescue` work without it.
 *
 * A type counts like a value except where the table says `types`: an `import type` is erased, so it cannot drag an
 * implementation along, while `import { type X }` leaves an import behind and is therefore judged as a value.
 */
import { isBuiltin } from 'node:module';
import path from 'node:path';

interface Layer {
  readonly folder: string;
  /** Layers whose values and types may be imported, beside the layer itself. */
  readonly sees: readonly string[];
  /** Layers of which only types may be imported. */
  readonly types?: readonly string[];
  /** The only packages allowed; absent: any that `packagesBarred` does not match. */
  readonly packagesOnly?: readonly string[];
  readonly packagesBarred?: RegExp;
  /** Each subfolder is an island: its files never import another subfolder of the layer. */
  readonly islands?: true;
}

const UP_TO_SYSTEMS = ['src/systems', 'src/engine', 'src/ground', 'src/domain'] as const;
/** Where a server is and how it is reached is configuration like any other, and drags in nothing that runs. */
const TEMPORAL = /^@temporalio\/(?!envconfig$)/;

const LAYERS: readonly Layer[] = [
  { folder: 'src/domain', sees: [], packagesOnly: ['zod'] },
  { folder: 'src/ground', sees: ['src/domain'], packagesBarred: TEMPORAL },
  { folder: 'src/engine', sees: ['src/ground', 'src/domain'], packagesBarred: TEMPORAL },
  { folder: 'src/systems', sees: ['src/engine', 'src/ground', 'src/domain'], packagesBarred: TEMPORAL, islands: true },
  {
    folder: 'src/faces',
    sees: UP_TO_SYSTEMS,
    types: ['workflows', 'activities'],
    packagesBarred: /^@temporalio\/(worker|activity|workflow)\b/,
  },
  { folder: 'activities', sees: UP_TO_SYSTEMS, packagesBarred: /^@temporalio\/(worker|workflow)\b/ },
  { folder: 'workers', sees: ['activities', ...UP_TO_SYSTEMS], types: ['workflows'], packagesBarred: /^@temporalio\/workflow\b/ },
  { folder: 'workflows', sees: ['src/domain'], types: ['activities'], packagesOnly: ['@temporalio/workflow', '@temporalio/common', 'zod'] },
];

/** These see everything; nothing but they may import them. */
const OPEN_FOLDERS: readonly string[] = ['test', 'bench'];

const isWithin = (file: string, folder: string): boolean => file.startsWith(`${folder}/`);

const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

const islandOf = (file: string, layer: Layer): string | undefined => file.slice(layer.folder.length + 1).split('/')[0];

function judgePackage(layer: Layer, specifier: string): string | null {
  if (layer.packagesOnly !== undefined) {
    if (isBuiltin(specifier)) return `${layer.folder} sees no Node built-ins`;
    return layer.packagesOnly.includes(packageOf(specifier)) ? null : `${layer.folder} sees only ${layer.packagesOnly.join(', ')}`;
  }
  return layer.packagesBarred?.test(specifier) === true ? `${layer.folder} does not see ${packageOf(specifier)}` : null;
}

function judgeFile(layer: Layer, file: string, target: string, isTypeOnly: boolean): string | null {
  if (isWithin(target, layer.folder)) {
    const crosses = layer.islands === true && islandOf(file, layer) !== islandOf(target, layer);
    return crosses ? 'a system never imports a system: what both need sinks to src/engine' : null;
  }
  if (layer.sees.some((folder) => isWithin(target, folder))) return null;
  if (layer.types?.some((folder) => isWithin(target, folder)) === true) {
    return isTypeOnly ? null : `${layer.folder} sees only types here: write \`import type\``;
  }
  return `${layer.folder} sees only ${['itself', ...layer.sees].join(', ')}`;
}

/** Why `file` (relative to the root, with slashes) may not import `specifier` (null: computed when it runs), or null when it may. */
export function judgeImport(file: string, specifier: string | null, isTypeOnly: boolean): string | null {
  const layer = LAYERS.find(({ folder }) => isWithin(file, folder));
  if (layer === undefined) return null;
  if (specifier === null) return 'an import names its file: a computed name cannot be judged';
  if (!specifier.startsWith('.')) return judgePackage(layer, specifier);
  return judgeFile(layer, file, path.posix.join(path.posix.dirname(file), specifier), isTypeOnly);
}

/** Why there may be no file at this path, or null: everything below src has a layer. */
export function judgePlace(file: string): string | null {
  const known = [...LAYERS.map(({ folder }) => folder), ...OPEN_FOLDERS];
  if (!isWithin(file, 'src') || known.some((folder) => isWithin(file, folder))) return null;
  return `no layer holds this file: src has ${known.filter((folder) => folder.startsWith('src/')).join(', ')}`;
}
