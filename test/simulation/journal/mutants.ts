/**
 * The mutants of the journal: each safeguard of the design's section 5 taken out by a patch, and a seed whose run then goes wrong.
 *
 * `hole` is the row of that section, or the rule of docs/journal.md. Where two places keep one rule, a mutant takes both out. The seeds
 * are the first that fail from 1 on; `npm run simulate -- journal --mutants --from 1` finds them again.
 */
import type { KnownMutant } from '../campaign.ts';
import type { Patch } from '../patches.ts';
import type { Mode } from './world.ts';

export interface JournalMutant extends KnownMutant {
  readonly mode: Mode;
}

const JOURNAL = 'src/engine/journal';
const patch = (file: string, find: string, replace: string): Patch => ({ file: `${JOURNAL}/${file}`, find, replace });
const state = (find: string, replace: string): Patch => patch('state.ts', find, replace);
const holdings = (find: string, replace: string): Patch => patch('holdings.ts', find, replace);
const lane = (find: string, replace: string): Patch => patch('owning/lane.ts', find, replace);
const owner = (find: string, replace: string): Patch => patch('owning/owner.ts', find, replace);
const takeOver = (find: string, replace: string): Patch => patch('takeover/take-over.ts', find, replace);
const ending = (find: string, replace: string): Patch => patch('takeover/choose-end.ts', find, replace);
const sealing = (find: string, replace: string): Patch => patch('takeover/seal-chain.ts', find, replace);
const tail = (find: string, replace: string): Patch => patch('takeover/tail.ts', find, replace);
const history = (find: string, replace: string): Patch => patch('reading/history.ts', find, replace);
const hydration = (find: string, replace: string): Patch => ({ file: 'src/engine/volumes/hydration/local-extents.ts', find, replace });
const plan = (find: string, replace: string): Patch => patch('recovery/plan.ts', find, replace);

/** The entry is made once, on the first state, and not again after a lost race. */
const OPEN_MADE_ONCE: readonly Patch[] = [
  takeOver('  let unplanned: unknown;', '  let unplanned: unknown;\n  let made: Promise<Worked> | null = null;'),
  takeOver(
    'const worked = closing === undefined ? await firstOpen(journal, options) : await nextOpen(journal, options, state, closing, owner);',
    'const worked = await (made ??= closing === undefined ? firstOpen(journal, options) : nextOpen(journal, options, state, closing, owner));',
  ),
];

/** An end below what the log has named, and below the floor, is taken. */
const ENDS_ANYWHERE: readonly Patch[] = [
  state('if (end.seq < state.floor || lost.some(({ to }) => to <= state.floor))', 'if (end.seq < 0)'),
  state(
    'if (tailLost || (lost.length === 0 && pinsAbove(state, closing, end).length === 0)) return null;',
    'if (lost.length < 99) return null;',
  ),
];

const LIST: readonly (Omit<JournalMutant, 'steps'> & { readonly steps?: number })[] = [
  {
    name: 'plain_put',
    hole: '1',
    mode: 'pair',
    seed: 3,
    patches: [lane('store.put(name, stored, { ifAbsent: true, signal })', 'store.put(name, stored, { signal })')],
  },
  { name: 'no_seal', hole: '2', mode: 'pair', seed: 2, patches: [sealing("if (step.value.stoppedBy === 'seal') return", 'return')] },
  {
    name: 'no_seal_local',
    hole: '2',
    mode: 'local',
    seed: 17,
    patches: [sealing("if (step.value.stoppedBy === 'seal') return", 'return')],
  },
  {
    name: 'exists_ok',
    hole: '3',
    mode: 'pair',
    seed: 3,
    patches: [lane("return there.equals(stored) ? 'ours' : 'stranger';", "return 'ours';")],
  },
  {
    name: 'fp_sent',
    hole: '4',
    mode: 'pair',
    seed: 3,
    patches: [
      owner('this.#writeAhead === null ? confirmedByAll : Math.max', 'this.#writeAhead === null ? this.#writer.count : Math.max'),
      owner(
        'const full = lanes.filter(({ confirmed }) => confirmed >= count)',
        'const full = lanes.filter(({ region }) => members.some((member) => member.region === region.name))',
      ),
    ],
  },
  {
    name: 'late_confirm',
    hole: '5',
    mode: 'pair',
    seed: 1,
    patches: [owner('return this.#ended === null && !this.#planned && !this.#doubted;', 'return this.#ended === null && !this.#doubted;')],
  },
  {
    name: 'no_tail_copy',
    hole: '6',
    mode: 'pair',
    seed: 454,
    patches: [ending('isHeldTwice && full.length === 1 ?', 'isHeldTwice && full.length < 1 ?')],
  },
  {
    name: 'tail_by_seq',
    hole: '7',
    mode: 'pair',
    seed: 2,
    patches: [
      tail(
        'await putCopy(journal.key, target,',
        'if (readBatch(journal.key, { epoch, index }, "", found.stored)?.count === 0) continue;\n    await putCopy(journal.key, target,',
      ),
    ],
  },
  {
    name: 'fold_empty',
    hole: '7',
    mode: 'pair',
    seed: 147,
    patches: [patch('keeping/fold.ts', "return head.count > 0 ? 'take' : 'pass';", "return 'take';")],
  },
  { name: 'no_rewalk', hole: '8', mode: 'local', seed: 4, patches: [...OPEN_MADE_ONCE, ...ENDS_ANYWHERE] },
  {
    name: 'no_judge',
    hole: '8',
    mode: 'pair',
    seed: 3,
    patches: [
      ...OPEN_MADE_ONCE,
      state("if (previous !== state.current) return refused('another epoch was opened meanwhile', { current: state.current ?? 0 });", ''),
    ],
  },
  {
    name: 'walk_lowest',
    hole: '9',
    mode: 'pair',
    seed: 105,
    patches: [sealing('at?.epoch === epoch ?', 'at?.epoch === epoch && at.seq < 0 ?')],
  },
  {
    name: 'seal_deleted',
    hole: '10',
    mode: 'pair',
    seed: 834,
    patches: [patch('keeping/collecting.ts', 'may: may && (await isBatch(journal, store, info))', 'may')],
  },
  {
    name: 'no_end',
    hole: '11',
    mode: 'pair',
    seed: 3,
    patches: [
      history('through: end.index, window', 'through: end.index + 2, window'),
      history(
        "if (!('head' in next)) throw nowhere(next, mark, mark.next - 1);\n    mark = next.mark;\n    yield next;\n  }\n  if (mark.index === end.index + 1",
        "if (!('head' in next) && mark.index > end.index) break;\n    if (!('head' in next)) throw nowhere(next, mark, mark.next - 1);\n    mark = next.mark;\n    yield next;\n  }\n  if (mark.index === end.index + 1",
      ),
    ],
  },
  {
    name: 'no_lac',
    hole: '11',
    mode: 'pair',
    seed: 1,
    patches: [history('if (end === null && lastOf(head) > acknowledged) return;', '')],
  },
  {
    name: 'on_its_way_is_lost',
    hole: 'section 5',
    mode: 'local',
    seed: 13,
    patches: [
      patch('reading/copies.ts', 'heads.some((head) => head.acknowledgedBatches > index)', 'heads.some((head) => head.index > index)'),
    ],
  },
  {
    name: 'looks_once',
    hole: 'section 5',
    mode: 'pair',
    seed: 9,
    patches: [history('known !== mark.index', 'known > mark.index')],
  },
  {
    name: 'gc_other_region',
    hole: '12',
    mode: 'pair',
    seed: 7,
    patches: [
      holdings(
        'state.bases.get(region)?.findLast(({ to }) => to <= state.floor);',
        '[...state.bases.values()].flat().filter(({ to }) => to <= state.floor).sort((a, b) => a.from - b.from).at(region.length < 0 ? 0 : -1);',
      ),
    ],
  },
  {
    name: 'base_no_mono',
    hole: '13',
    mode: 'pair',
    seed: 5,
    patches: [
      state(
        'return above ? null : refused(`${region} has had a newer base`',
        'return above || region !== "" ? null : refused(`${region} has had a newer base`',
      ),
    ],
  },
  {
    name: 'base_early',
    hole: '14',
    mode: 'local',
    seed: 60,
    patches: [
      holdings('({ from, to }) => to <= seq && from >= newestCut', '({ from }) => from <= seq && from >= newestCut'),
      patch('reading/beginnings.ts', 'to <= seq && from >= cut', 'from <= seq && to > 0 && from >= cut'),
    ],
  },
  {
    name: 'replay_from_to',
    hole: '14',
    mode: 'local',
    seed: 22,
    patches: [plan("start.kind === 'base' ? start.base.from : 0", "start.kind === 'base' ? start.base.to : 0")],
  },
  {
    name: 'gap_ignored',
    hole: '15',
    mode: 'local',
    seed: 39,
    patches: [
      holdings('const cuts = [...gaps].filter((gap) => gap <= seq);', 'const cuts = [...gaps].filter((gap) => gap < 0 && gap <= seq);'),
      plan("if ([...gaps].some((gap) => gap > from && gap <= point.seq)) throw gone(point, 'order was lost before it');", ''),
    ],
  },
  {
    name: 'gc_no_floor',
    hole: '16',
    mode: 'pair',
    seed: 6,
    patches: [holdings('state.bases.get(region)?.findLast(({ to }) => to <= state.floor);', 'state.bases.get(region)?.at(-1);')],
  },
  {
    name: 'floor_past_pin',
    hole: '16',
    mode: 'pair',
    seed: 36,
    patches: [
      state(
        'if (pinned !== undefined) return refused(`${pinned.pin} pins',
        'if (pinned !== undefined && seq < 0) return refused(`${pinned.pin} pins',
      ),
      patch(
        'keeping/retention.ts',
        'takenOf(base) <= cutoffMs && pinned.every((seq) => base.to <= seq)',
        'takenOf(base) <= cutoffMs && pinned.length >= 0',
      ),
    ],
  },
  {
    name: 'held_early',
    hole: '17',
    mode: 'pair',
    seed: 1,
    patches: [patch('keeping/backfill.ts', 'await putCopy(reading, store, batch, stored);', 'void putCopy;')],
  },
  {
    name: 'shortest',
    hole: '18',
    mode: 'local',
    seed: 31,
    patches: [ending('best.end.index >= one.end.index ? best : one', 'best.end.index <= one.end.index ? best : one')],
  },
  {
    name: 'no_consent',
    hole: '19',
    mode: 'local',
    seed: 48,
    patches: [
      ending("closing.mode === 'local' ? longest === null || silent.length > 0 :", "closing.mode === 'local' ? longest === null :"),
    ],
  },
  {
    name: 'base_not_whole',
    hole: '20',
    mode: 'local',
    seed: 270,
    patches: [
      state('return follows && isWhole(state, region) ? null', 'return follows && isWhole !== undefined ? null'),
      patch('keeping/fold.ts', 'if (!isWhole(state, region)) return', 'if (!isWhole(state, region) && state.n < 0) return'),
    ],
  },
  {
    name: 'silence_is_absence',
    hole: '21',
    mode: 'pair',
    seed: 49,
    patches: [
      patch('reading/copies.ts', 'if (silent.length > 0) return unheard(what, silent, details);', ''),
      plan('if (silent.length > 0) throw unheard', 'if (silent.length > 99) throw unheard'),
    ],
  },
  {
    name: 'ack_one',
    hole: 'J6',
    mode: 'pair',
    seed: 1,
    patches: [
      owner(
        'const seq = this.#writer.lastAfter(this.#writer.confirmedByAll);',
        'const seq = this.#writer.lastAfter(this.#writer.confirmedByOne);',
      ),
    ],
  },
  {
    name: 'ack_no_prefix',
    hole: 'J6',
    mode: 'pair',
    seed: 1,
    patches: [
      lane('while (this.#ahead.delete(this.#confirmed)) this.#confirmed++;', 'this.#confirmed = Math.max(this.#confirmed, index + 1);'),
    ],
  },
  {
    name: 'any_owner',
    hole: 'J1',
    mode: 'local',
    seed: 3,
    patches: [takeOver('if (own !== undefined && !own.isOwner(closing.owner)) throw overtaken(closing);', '')],
  },
  {
    name: 'ships_unsynced',
    hole: 'J15',
    mode: 'local',
    seed: 37,
    patches: [
      owner('const through = this.#writeAhead === null ? this.next - 1 : this.#durable;', 'const through = this.next - 1;'),
      owner(
        'if (this.#writeAhead !== null && this.#held.formed === this.#durable && this.#durable < this.next - 1) await this.#sync();\n        else this.#formOne();',
        'this.#formOne();',
      ),
    ],
  },
  {
    name: 'tail_lost',
    hole: 'J13',
    mode: 'local',
    seed: 632,
    patches: [
      state(
        'if (tailLost || (lost.length === 0 && pinsAbove(state, closing, end).length === 0)) return null;',
        'if (lost.length < 99) return null;',
      ),
    ],
  },
  {
    name: 'hydration_overwrites',
    hole: 'rehydrate',
    mode: 'pair',
    seed: 12,
    patches: [hydration('if (!this.set.has(extent)) this.#put(extent, plain);', 'this.#put(extent, plain);')],
  },
  {
    name: 'hydration_ignores_claims',
    hole: 'rehydrate',
    mode: 'pair',
    seed: 82,
    patches: [hydration('if (claim !== undefined) return claim;', '')],
  },
  {
    name: 'partial_write_of_cold',
    hole: 'rehydrate',
    mode: 'local',
    seed: 4,
    patches: [hydration('if (!isWhole) return this.bring(extent);', '')],
  },
  {
    name: 'overlay_keeps_zeros_out',
    hole: 'rehydrate',
    mode: 'local',
    seed: 14,
    patches: [patch('recovery/overlay.ts', 'part.fill(0);', '')],
  },
  {
    name: 'drain_early',
    hole: 'planned',
    mode: 'local',
    seed: 32,
    patches: [owner('this.#opening === null && this.#isPublished && this.#allConfirmed', 'this.#opening === null && this.#isPublished')],
  },
  {
    name: 'drain_unsaid',
    hole: 'planned',
    mode: 'pair',
    seed: 34,
    patches: [owner('this.#opening === null && this.#isPublished && this.#allConfirmed', 'this.#opening === null && this.#allConfirmed')],
  },
  {
    name: 'failback_misses_zeros',
    hole: 'failback',
    mode: 'pair',
    seed: 20,
    patches: [patch('recovery/changed.ts', "else if (kind !== 'flush' && volumes", "else if (kind === 'write' && volumes")],
  },
  {
    name: 'failback_over_gap',
    hole: 'failback',
    mode: 'local',
    seed: 6,
    patches: [patch('recovery/changed.ts', 'gap = Math.max(gap, seq);', 'gap = 0;')],
  },
  {
    name: 'failback_keeps_orphan',
    hole: 'failback',
    mode: 'local',
    seed: 2,
    // Nothing of the product puts the two together but what calls it: here that is the simulation.
    patches: [
      { file: 'test/simulation/journal/failback.ts', find: '(seq > end.seq ? blocks : [])', replace: '(seq > Infinity ? blocks : [])' },
    ],
  },
  {
    name: 'lost_file_vouches',
    hole: 'J16',
    mode: 'local',
    seed: 48,
    patches: [ending('longest !== null && ownFrom !== undefined && ownFrom', 'longest !== null && (ownFrom ?? 0)')],
  },
  {
    name: 'group_of_two_moments',
    hole: 'group',
    mode: 'pair',
    seed: 3,
    patches: [plan('if (seq <= from || seq > through) continue;', 'if (seq <= from || (volume !== 1 && seq > through)) continue;')],
  },
  {
    name: 'first_copy_or_none',
    hole: 'damage',
    mode: 'pair',
    seed: 5,
    patches: [
      patch(
        'reading/copies.ts',
        'reading.onDamage({ region, object, code: error.code, message: error.message });\n        refused = error;',
        'throw error;',
      ),
    ],
  },
  {
    name: 'damaged_body_passes',
    hole: 'damage',
    mode: 'pair',
    seed: 334,
    // The tag of the body is not looked at, nor the digest of the data.
    patches: [
      patch(
        'sealed-object.ts',
        'const body = openSealed(closed);\n  if (body === null) throw',
        'const body = openSealed(closed) ?? Buffer.from(closed.sealed.subarray(0, -TAG_BYTES));\n  if (body.length < 0) throw',
      ),
      patch('batch.ts', ' || !blake3(data).equals(head.dataDigest))', ')'),
    ],
  },
  {
    name: 'sound_past_the_hole',
    hole: 'damage',
    mode: 'pair',
    seed: 5,
    patches: [
      patch(
        'reading/copies.ts',
        '...(soundSeq === undefined ? {} : { soundSeq })',
        '...(soundSeq === undefined ? {} : { soundSeq: soundSeq + 1 })',
      ),
    ],
  },
  {
    name: 'damaged_chain_is_its_beginning',
    hole: 'damage',
    mode: 'local',
    seed: 48,
    patches: [sealing("if (ofDamaged === 'nothing' || !isHoldfastError", 'if (!isHoldfastError')],
  },
  {
    name: 'damaged_body_stops_all',
    hole: 'damage',
    mode: 'pair',
    seed: 10778,
    // No other copy is asked for, and the end is not chosen again.
    patches: [
      tail(
        '{ ...closing, end: endOf(chain), full: [chain.region] }',
        '{ ...closing, members: closing.members.filter((one) => one.region === chain.region) }',
      ),
      tail('if (!isHoldfastError(error) || !(isDamage(error) || isSilence(error))) throw error;', 'if (place.index >= 0) throw error;'),
    ],
  },
  {
    name: 'lost_batch_is_an_end',
    hole: 'damage',
    mode: 'pair',
    seed: 356,
    patches: [sealing("if (step.value.stoppedBy === 'seal') await refuseLost({ store, key }, mark);", '')],
  },
];

const STEPS = 1000;
export const MUTANTS: readonly JournalMutant[] = LIST.map((mutant) => ({ steps: STEPS, ...mutant }));
