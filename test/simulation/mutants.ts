/**
 * The mutants: each safeguard taken out by a patch, and a seed whose run then goes wrong.
 *
 * A safeguard that can be removed without the simulation noticing is either not needed or not tested; both are worth
 * knowing. `hole` is the row of docs/protocol.md that it closes. Where two safeguards close one hole, a mutant removes both.
 * The seeds are the first that fail from 1 on; `npm run simulate -- --mutants --from 1` finds them again.
 */
import type { KnownMutant } from './campaign.ts';
import type { Patch } from './patches.ts';

export interface Mutant extends KnownMutant {
  /** Needs several rare things in a row: busy and faulty in every way at once. */
  readonly hot: boolean;
  /** Needs packs that are deleted, cut and rot. */
  readonly harm: boolean;
}

const REPOSITORY = 'src/engine/repository';
const CHECKPOINTS = 'src/engine/log/checkpoints.ts';
const patch = (file: string, find: string, replace: string): Patch => ({ file, find, replace });
const ledger = (find: string, replace: string): Patch => patch(`${REPOSITORY}/ledger.ts`, find, replace);
const commit = (find: string, replace: string): Patch => patch(`${REPOSITORY}/commit.ts`, find, replace);
const destination = (find: string, replace: string): Patch => patch(`${REPOSITORY}/destination.ts`, find, replace);
const sweep = (find: string, replace: string): Patch => patch(`${REPOSITORY}/sweep.ts`, find, replace);
const table = (find: string, replace: string): Patch => patch(`${REPOSITORY}/memory-table.ts`, find, replace);
const checkpoint = (find: string, replace: string): Patch => patch(`${REPOSITORY}/checkpoint.ts`, find, replace);
const heal = (find: string, replace: string): Patch => patch(`${REPOSITORY}/heal.ts`, find, replace);
const lifecycle = (find: string, replace: string): Patch => patch('src/domain/lifecycle.ts', find, replace);
const committer = (find: string, replace: string): Patch => patch('src/engine/log/committer.ts', find, replace);

const BASE = 'const base = claim.base === null ? undefined : repository.ledger().snapshots.get(claim.base);';
const OLDEST = 'const base = repository.ledger().snapshots.get(repository.ledger().order.get(lineage)?.[0] ?? (claim.base as SnapshotId));';
const GC_FENCE = 'ledger.claims.get(COLLECTOR)?.epoch === epoch ? null :';
const HEAL_FENCE = "case 'ABORT':\n    case 'HEAL':\n      return ledger";

/**
 * Not a fault but another protocol: any number of collectors at once, each with a claim of its own. It must be as safe, and
 * what protects collectors from each other can only be missed where there are several.
 */
export const PARALLEL_COLLECTORS: readonly Patch[] = [
  ledger(GC_FENCE, '[...ledger.claims.values()].some((claim) => claim.epoch === epoch) ? null :'),
  patch(`${REPOSITORY}/claims.ts`, 'const open = ledger.claims.get(COLLECTOR);', 'const open = ledger.claims.get(owner as Actor);'),
  patch(`${REPOSITORY}/claims.ts`, "kind: 'CLAIM', actor: COLLECTOR,", "kind: 'CLAIM', actor: owner as Actor,"),
  patch(
    `${REPOSITORY}/collector.ts`,
    'abortClaim(repository, COLLECTOR, epoch)',
    'abortClaim(repository, options.owner as typeof COLLECTOR, epoch)',
  ),
];

const LIST: readonly (Omit<Mutant, 'steps' | 'hot' | 'harm'> & { readonly hot?: true; readonly harm?: true })[] = [
  {
    name: 'index_by_seq',
    hole: '1',
    seed: 3,
    patches: [
      commit(
        'changeName(names.change(GROUP_TOP))',
        'changeName({ claim: repository.ledger().n + 1, group: GROUP_TOP, attempt: 0, index: 0 })',
      ),
    ],
  },
  {
    name: 'clock_sweep',
    hole: '2',
    seed: 16,
    patches: [
      sweep(
        "if (object.kind === 'pack') return isClosed(ledger, object.claim) &&",
        "if (object.kind === 'pack') return (isClosed(ledger, object.claim) || object.claim + 8 < ledger.n) &&",
      ),
    ],
  },
  {
    name: 'no_fence',
    hole: '2',
    seed: 29,
    patches: [
      ledger(
        "if (ledger.claims.get(entry.lineage)?.epoch !== entry.epoch) return refuse('CLAIM_LOST', 'its claim is not the open one');",
        '',
      ),
    ],
  },
  {
    name: 'no_keep',
    hole: '3',
    seed: 10,
    patches: [
      ledger(
        'entry.adopt && before ? [before.epoch, ...before.kept].slice(0, CLAIMS_KEPT_MAX) : []',
        'before && CLAIMS_KEPT_MAX < 0 ? [0] : []',
      ),
      destination('[epoch, ...claim.kept]', '[0, 1, 2, 3, 4].map((i) => epoch - i).filter((claim) => claim > 0)'),
    ],
  },
  {
    name: 'self_clean',
    hole: '4',
    seed: 27,
    patches: [
      commit(
        'values: error.values, ...error.answer };\n    throw error;',
        `values: error.values, ...error.answer };
    const own = await repository.store.list('a/' + String(shipment.epoch).padStart(20, '0') + '/');
    await repository.store.delete(own.map(({ name }) => name));
    throw error;`,
      ),
    ],
  },
  { name: 'stale_sweep', hole: '5', seed: 3, patches: [ledger('if (claim > ledger.n) return false;', '')] },
  {
    name: 'resurrect',
    hole: '6',
    seed: 38,
    patches: [
      table('rows.delete(key);', 'rows.set(key, { ...row, runs: 0 });'),
      table(
        'if (row) return void rows.set(key, { ...row, runs: row.runs + runs });',
        'if (row) { if (row.runs === 0) use(row.location.pack, 1, row.location.length); return void rows.set(key, { ...row, runs: row.runs + runs }); }',
      ),
      table('if (!row || !from.has(', 'if (!row || row.runs === 0 || !from.has('),
      table("for (const id of emptied) packs.delete(id.toString('hex'));", ''),
      table(
        "pack: (id) => packs.get(id.toString('hex')) ?? null,",
        "pack: (id) => ((packs.get(id.toString('hex'))?.liveBlobs ?? 0) > 0 ? (packs.get(id.toString('hex')) ?? null) : null),",
      ),
      table('if (row) yield {', 'if (row && row.runs > 0) yield {'),
      table('if (pack) yield pack;', 'if (pack && pack.liveBlobs > 0) yield pack;'),
      table('rows: rows.size,', 'rows: [...rows.values()].filter((row) => row.runs > 0).length,'),
      table('packs: packs.size,', 'packs: [...packs.values()].filter((pack) => pack.liveBlobs > 0).length,'),
      table('.filter((pack) => pack.liveBytes <=', '.filter((pack) => pack.liveBlobs > 0 && pack.liveBytes <='),
    ],
  },
  {
    name: 'no_rejudge',
    hole: '7',
    seed: 110,
    hot: true,
    patches: [
      commit(
        'const reliances = await relyOn(repository, shipment);',
        'const reliances = await relyOn(repository, shipment); let judged = false;',
      ),
      commit(
        'refuseMissing(repository, ledger.n, reliances);',
        'if (!judged) refuseMissing(repository, ledger.n, reliances); judged = true;',
      ),
    ],
  },
  {
    name: 'base_deltas',
    hole: '9',
    seed: 2,
    patches: [commit(BASE, OLDEST), destination(BASE, OLDEST.replace(' as SnapshotId', ' as never'))],
  },
  {
    name: 'hidden_not_live',
    hole: '9',
    seed: 1,
    patches: [
      ledger(
        'ledger.order.get(lineage)?.at(-1) ?? null',
        'ledger.order.get(lineage)?.filter((id) => !ledger.snapshots.get(id)?.hidden).at(-1) ?? null',
      ),
      ledger(
        'const ids = ledger.order.get(snapshot.lineage) ?? [];',
        'const ids = (ledger.order.get(snapshot.lineage) ?? []).filter((id) => id === snapshot.id || !ledger.snapshots.get(id)?.hidden);',
      ),
    ],
  },
  {
    name: 'no_neighbour_check',
    hole: '10',
    seed: 854,
    hot: true,
    patches: [...PARALLEL_COLLECTORS, patch(`${REPOSITORY}/reclaim.ts`, 'if (computed?.from !== from)', 'if (computed === null)')],
  },
  {
    name: 'no_base_pin+no_parent_check',
    hole: '11',
    seed: 361,
    hot: true,
    patches: [
      lifecycle("if (facts.baseOfAttempt) return 'base of an open attempt';", ''),
      ledger(
        "if (newestOf(ledger, entry.lineage) !== entry.parent) return refuse('PARENT_MOVED', 'its parent is not the newest snapshot');",
        '',
      ),
    ],
  },
  {
    name: 'no_bring_all',
    hole: '8',
    seed: 12,
    hot: true,
    patches: [destination('has: (fingerprint) => !bringAll && ', 'has: (fingerprint) => ')],
  },
  {
    name: 'no_bring_all_nodes',
    hole: '8',
    seed: 174,
    hot: true,
    patches: [destination('context.bringAll ? null : repository', 'repository')],
  },
  {
    name: 'dup_last_wins',
    hole: '12',
    seed: 1,
    patches: [
      table(
        'if (row) return void rows.set(key, { ...row, runs: row.runs + runs });',
        'if (row && brought) use(brought.pack, 1, brought.length); if (row) return void rows.set(key, { location: brought ?? row.location, runs: row.runs + runs });',
      ),
    ],
  },
  {
    name: 'replace_blind',
    hole: '13',
    seed: 900,
    hot: true,
    patches: [
      ...PARALLEL_COLLECTORS,
      table(
        "if (!row || !from.has(row.location.pack.toString('hex'))) return;",
        'if (!row) { use(to.pack, 1, to.length); return void rows.set(key, { runs: 0, location: to }); }',
      ),
    ],
  },
  {
    name: 'phys_first',
    hole: '14',
    seed: 1,
    patches: [
      patch(
        `${REPOSITORY}/rewrite.ts`,
        "const replaced = from.map((pack) => pack.id.toString('hex'));",
        "const replaced = from.map((pack) => pack.id.toString('hex')); await store.delete(from.map((pack) => packNameOf(pack.id)));",
      ),
    ],
  },
  {
    name: 'trim_log',
    hole: '15',
    seed: 2,
    patches: [
      patch(
        `${REPOSITORY}/table-folding.ts`,
        'if (record === null)\n    throw',
        'if (record === null) return null; if (record === null)\n    throw',
      ),
      patch(`${REPOSITORY}/follower.ts`, 'if (first) await refuseGap(at.n);', ''),
      checkpoint(
        'await dropOldCheckpoints(store);',
        `await dropOldCheckpoints(store);
  const trimmed: string[] = [];
  const { listAll } = await import('../../ground/stores/object-store.ts');
  for await (const { name } of listAll(store, 'log/')) if (Number(name.slice(4)) < ledger.n) trimmed.push(name);
  await store.delete(trimmed);`,
      ),
    ],
  },
  {
    name: 'ckpt_pointer',
    hole: '16',
    seed: 48,
    patches: [
      checkpoint('const name = checkpointName(ledger.n);', "const name = 'checkpoint/latest';"),
      checkpoint('environment.random(32)), { ifAbsent: true });', 'environment.random(32)));'),
      checkpoint('await dropOldCheckpoints(store);', 'await dropOldCheckpoints(store, ledger.n);'),
      patch(
        CHECKPOINTS,
        'async function dropOldCheckpoints(store: ObjectStore)',
        'async function dropOldCheckpoints(store: ObjectStore, n0 = 0)',
      ),
      patch(CHECKPOINTS, 'names.slice(0, CHECKPOINTS_KEPT).map(inverseNumber).at(-1) ?? 0', 'n0'),
    ],
  },
  {
    name: 'no_ver',
    hole: '17',
    seed: 16,
    patches: [ledger("snapshot.version === entry.version ? null : refuse('VISIBILITY_CHANGED', 'its visibility changed since')", 'null')],
  },
  { name: 'no_attempt', hole: '18', seed: 4, patches: [ledger('entry.attempt <= open.attempt', 'entry.attempt < 0')] },
  {
    name: 'batch_stale_entry',
    hole: '27',
    seed: 125,
    patches: [committer('if (waiting !== batch.at(-1)) state = port.advance(state, entry);', '')],
  },
  {
    name: 'one_name_two_tries',
    hole: '28',
    seed: 9,
    patches: [destination('({ claim, group, attempt, index: packs++ })', '({ claim, group, attempt: 0, index: packs++ })')],
  },
  { name: 'no_gc_fence', hole: 'collector', seed: 41, hot: true, patches: [ledger(GC_FENCE, 'epoch > 0 ? null :')] },
  {
    name: 'reclaim_newest',
    hole: 'RECLAIM',
    seed: 1,
    patches: [lifecycle("if (facts.newest && !facts.retired && !facts.purge) return 'newest of a living lineage';", '')],
  },
  { name: 'no_pin', hole: 'PIN', seed: 48, hot: true, patches: [lifecycle("if (facts.pinned) return 'pinned';", '')] },
  {
    name: 'reader_no_relook',
    hole: 'reader',
    seed: 2,
    patches: [
      patch(
        `${REPOSITORY}/value-reader.ts`,
        '      at = await relocate(fingerprint, at);\n',
        "      throw new HoldfastError('DAMAGED', 'not there');\n",
      ),
    ],
  },
  {
    name: 'change_swept_early',
    hole: 'sweep',
    seed: 1,
    patches: [sweep('return settled && isClosed(ledger, object.claim)', 'return settled !== undefined && isClosed(ledger, object.claim)')],
  },
  { name: 'diff_not_held', hole: 'sweep', seed: 2, patches: [sweep(' && !table.holdsPart(name)', '')] },
  {
    name: 'told_before_put',
    hole: '27',
    seed: 304,
    hot: true,
    patches: [committer('if (entries.length === 0) waiting.settle(told);', 'if (entries.length >= 0) waiting.settle(told);')],
  },
  {
    name: 'put_past_judgement',
    hole: 'R3',
    seed: 131,
    patches: [patch(`${REPOSITORY}/follower.ts`, 'if (at.n !== judgedOn.n) return null;', '')],
  },
  {
    name: 'outcome_unfolded',
    hole: 'append',
    seed: 125,
    hot: true,
    patches: [patch(`${REPOSITORY}/follower.ts`, 'if (current().n < standing || !folding.stands(current().n)) await sync();', '')],
  },
  {
    name: 'loaded_in_place',
    hole: 'cache',
    seed: 176,
    hot: true,
    patches: [
      table(
        'const loaded: State = { rows: new Map(), packs: new Map(), parts: new Map() };',
        'const loaded: State = state; for (const map of [rows, packs, parts]) map.clear();',
      ),
      table('replaceAll(rows, loaded.rows);', ''),
      table('replaceAll(packs, loaded.packs);', ''),
      table('replaceAll(parts, loaded.parts);', 'void replaceAll;'),
    ],
  },
  {
    name: 'heal_unfenced',
    hole: 'heal',
    seed: 52,
    harm: true,
    patches: [ledger(HEAL_FENCE, "case 'HEAL':\n      return null;\n    case 'ABORT':\n      return ledger")],
  },
  {
    name: 'heal_after_close',
    hole: 'heal',
    seed: 58,
    hot: true,
    harm: true,
    patches: [
      ledger(
        HEAL_FENCE,
        "case 'HEAL':\n      if (!ledger.claims.has(entry.actor)) return null;\n    // falls through\n    case 'ABORT':\n      return ledger",
      ),
    ],
  },
  {
    name: 'heal_blind',
    hole: 'heal',
    seed: 54,
    harm: true,
    patches: [
      patch(
        `${REPOSITORY}/fold.ts`,
        'const from = new Set(entry.from);',
        "const from = entry.kind === 'HEAL' ? Object.assign(new Set(entry.from), { has: () => true }) : new Set(entry.from);",
      ),
    ],
  },
  {
    name: 'heal_all',
    hole: 'heal',
    seed: 2,
    harm: true,
    patches: [
      heal(
        'for (const [key, location] of brought) {',
        `const all = new Map(brought);
  for (const row of repository.table.rows()) for (const [, any] of brought)
    if (!all.has(row.fingerprint.toString('hex')) && lost.has(row.location.pack.toString('hex'))) all.set(row.fingerprint.toString('hex'), any);
  for (const [key, location] of all) {`,
      ),
    ],
  },
];

const STEPS = 1000;
export const MUTANTS: readonly Mutant[] = LIST.map((mutant) => ({
  steps: STEPS,
  ...mutant,
  hot: mutant.hot === true,
  harm: mutant.harm === true,
}));
