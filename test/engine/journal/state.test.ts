/** The rules of a journal's log, one by one: what is refused, by which rule, and what an entry changes (J1, J4, J5, J7, J10, J11, J13). */
import { expect, test } from '@jest/globals';
import { atRisk, holdsAll, isWhole, replayStart } from '../../../src/engine/journal/holdings.ts';
import type { BaseEntry, JournalEntry, OpenEntry } from '../../../src/engine/journal/entries.ts';
import { applyEntry, EMPTY_JOURNAL, refusalOf, type JournalState } from '../../../src/engine/journal/state.ts';

const digest = (n: number): string => n.toString(16).padStart(64, '0');
const members = (...regions: readonly string[]) => regions.map((region) => ({ region, domain: `d-${region}` }));

const open = (over: Partial<OpenEntry> = {}): OpenEntry => ({
  kind: 'OPEN',
  previous: null,
  end: null,
  mode: 'pair',
  owner: 'node',
  members: members('a', 'b'),
  full: [],
  tailLost: false,
  ...over,
});

const base = (region: string, from: number, over: Partial<BaseEntry> = {}): BaseEntry => ({
  kind: 'BASE',
  region,
  snapshots: [{ volume: 0, id: `0${String(from).padStart(25, '0')}` }],
  from,
  to: from,
  at: { epoch: 1, index: from, seq: from, digest: digest(from) },
  ...over,
});

/** The fold of these, a record each; every one of them has to be admissible. */
function fold(...entries: readonly JournalEntry[]): JournalState {
  return entries.reduce<JournalState>((state, entry) => {
    expect(refusalOf(state, entry)).toBeNull();
    const n = state.n + 1;
    return { ...applyEntry(state, entry, { seq: n }), n };
  }, EMPTY_JOURNAL);
}

const refusal = (state: JournalState, entry: JournalEntry): string | null => refusalOf(state, entry)?.code ?? null;

/** Epoch 1 ended at batch 9, number 9; epoch 2 is open. */
const END = { index: 9, seq: 9, digest: digest(9) };
const next = (over: Partial<OpenEntry> = {}): OpenEntry =>
  open({ previous: 1, end: END, full: ['a'], members: members('a', 'c'), ...over });

test('an epoch is the number of its record, and joins the one before', () => {
  const state = fold(open(), next());
  expect(state.current).toBe(2);
  expect([...state.epochs.values()]).toMatchObject([
    { epoch: 1, start: 1, before: digest(0), end: END, full: ['a'] },
    { epoch: 2, start: 10, before: digest(9), end: null, full: [] },
  ]);
});

test('OPEN: only over the current epoch, once a record', () => {
  const state = fold(open(), next());
  expect(refusal(state, next())).toBe('RECORD_REFUSED');
  expect(refusal(state, open())).toBe('RECORD_REFUSED');
  // A second one in the same record would have the same number.
  const inOneRecord = applyEntry(fold(open()), next(), { seq: 2 });
  expect(refusal(inOneRecord, open({ previous: 2, end: { index: -1, seq: 9, digest: digest(9) }, full: ['a'] }))).toBe('RECORD_REFUSED');
});

test('OPEN: members are distinct by region and by failure domain, two for a pair', () => {
  for (const wrong of [members('a', 'a'), members('a'), members('a', 'b', 'c'), [...members('a'), { region: 'b', domain: 'd-a' }]])
    expect(refusal(EMPTY_JOURNAL, open({ members: wrong }))).toBe('RECORD_REFUSED');
  expect(refusal(EMPTY_JOURNAL, open({ mode: 'local', members: members('a') }))).toBeNull();
});

test('OPEN: the end fits the epoch, and one of its members holds it', () => {
  const state = fold(open());
  for (const end of [null, { index: -1, seq: 3, digest: digest(0) }, { index: -1, seq: 0, digest: digest(1) }, { ...END, seq: -1 }])
    expect(refusal(state, next({ end }))).toBe('RECORD_REFUSED');
  expect(refusal(state, next({ end: { index: -1, seq: 0, digest: digest(0) } }))).toBeNull();
  for (const full of [[], ['c'], ['a', 'a']]) expect(refusal(state, next({ full }))).toBe('RECORD_REFUSED');
});

test('OPEN: what was named above the end is lost only with consent, and the base of it is dropped', () => {
  const pin = { kind: 'PIN', pin: 'p', epoch: 1, seq: 7, untilMs: 0, why: 'restore' } as const;
  const end = { index: 4, seq: 4, digest: digest(4) };
  expect(refusal(fold(open(), pin), next({ end }))).toBe('TAIL_LOST');
  expect(refusal(fold(open(), base('a', 7)), next({ end }))).toBe('TAIL_LOST');
  const state = fold(open(), base('a', 3), base('a', 7), pin, next({ end, previous: 1, tailLost: true }));
  expect(state.bases.get('a')).toMatchObject([{ from: 3 }]);
  expect(state.pins.size).toBe(0);
  // An unrecorded snapshot of that time may be deleted already.
  expect(refusal(state, base('a', 4))).toBe('RECORD_REFUSED');
});

test('OPEN: never below the floor', () => {
  const state = fold(open(), base('a', 7), { kind: 'FLOOR', seq: 7 });
  expect(refusal(state, next({ end: { index: 4, seq: 4, digest: digest(4) }, tailLost: true }))).toBe('RECORD_REFUSED');
  // Empty batches stood between: the same number, and a base that would no longer be in the chain.
  expect(refusal(state, next({ end: { index: 6, seq: 7, digest: digest(6) }, tailLost: true }))).toBe('RECORD_REFUSED');
});

test('BASE: lies in its epoch, and rises', () => {
  const state = fold(open(), base('a', 5), next());
  const wrong: BaseEntry[] = [
    base('a', 5),
    base('a', 4),
    base('a', 6, { at: { epoch: 1, index: 4, seq: 4, digest: digest(4) } }),
    base('a', 10),
    base('a', 9, { at: { ...END, epoch: 1, digest: digest(8) } }),
    base('a', 8, { to: 10 }),
    base('a', 8, { to: 7 }),
    base('a', 8, { at: { epoch: 1, index: 8, seq: 9, digest: digest(9) } }),
    base('a', 8, { at: { epoch: 3, index: 8, seq: 8, digest: digest(8) } }),
  ];
  for (const entry of wrong) expect([entry, refusal(state, entry)]).toEqual([entry, 'RECORD_REFUSED']);
  expect(refusal(state, base('a', 8, { to: 9 }))).toBeNull();
});

test('BASE: only where nothing older is missing, unless the floor has passed it', () => {
  const state = fold(open(), next(), base('a', 6));
  const inTwo = { at: { epoch: 2, index: 0, seq: 12, digest: digest(12) } };
  // `c` is a member of epoch 2 and has nothing of epoch 1; `b` is no member any more.
  expect(refusal(state, base('c', 12, inTwo))).toBe('RECORD_REFUSED');
  expect(refusal(state, base('b', 12, inTwo))).toBe('RECORD_REFUSED');
  expect(refusal(state, base('a', 12, inTwo))).toBeNull();
  expect(refusal(state, base('c', 6))).toBe('RECORD_REFUSED');
  expect(refusal(fold(open(), next(), base('a', 6), { kind: 'FLOOR', seq: 6 }), base('c', 6))).toBeNull();
  expect(refusal(fold(open(), next(), { kind: 'HELD', epoch: 1, region: 'c' }), base('c', 12, inTwo))).toBeNull();
});

test('FLOOR: rises, to where a base is finished, and no pin is below it', () => {
  const state = fold(open(), base('a', 3), base('a', 5, { to: 6 }), { kind: 'PIN', pin: 'p', epoch: 1, seq: 4, untilMs: 0, why: '' });
  expect(refusal(state, { kind: 'FLOOR', seq: 3 })).toBeNull();
  for (const seq of [0, 2, 5, 6]) expect([seq, refusal(state, { kind: 'FLOOR', seq })]).toEqual([seq, 'RECORD_REFUSED']);
});

test('PIN and UNPIN: of points that are there, by epoch and number', () => {
  const state = fold(open(), base('a', 3), { kind: 'FLOOR', seq: 3 }, next({ previous: 1 }));
  const pin = (epoch: number, seq: number, name = 'p'): JournalEntry => ({ kind: 'PIN', pin: name, epoch, seq, untilMs: 0, why: '' });
  for (const wrong of [pin(1, 2), pin(1, 10), pin(4, 9), pin(9, 9), { kind: 'UNPIN', pin: 'p' } as const])
    expect([wrong, refusal(state, wrong)]).toEqual([wrong, 'RECORD_REFUSED']);
  const pinned = { ...applyEntry(state, pin(1, 5), { seq: 5 }), n: 5 };
  expect(refusal(pinned, pin(1, 6))).toBe('RECORD_REFUSED');
  expect(refusal(pinned, pin(1, 5))).toBeNull();
  expect(refusal(pinned, { kind: 'UNPIN', pin: 'p' })).toBeNull();
});

test('HELD: of a closed epoch; the third region is then as good as the others', () => {
  const state = fold(open(), next());
  expect(refusal(state, { kind: 'HELD', epoch: 2, region: 'c' })).toBe('RECORD_REFUSED');
  expect(isWhole(state, 'c')).toBe(false);
  expect(atRisk(state).map(({ epoch }) => epoch)).toEqual([1]);
  const filled = fold(open(), next(), { kind: 'HELD', epoch: 1, region: 'c' });
  expect(isWhole(filled, 'c')).toBe(true);
  expect(atRisk(filled)).toEqual([]);
  expect(holdsAll(filled, 'b', filled.epochs.get(1)!)).toBe(false);
});

test('a replay begins with the newest finished base that no gap follows', () => {
  const state = fold(open(), base('a', 3), base('a', 5, { to: 7 }));
  const from = (seq: number, gaps: number[] = []): number | null => {
    const start = replayStart(state, 'a', seq, gaps);
    return start === null ? null : start.kind === 'empty' ? 0 : start.base.from;
  };
  expect([2, 3, 6, 7, 9].map((seq) => from(seq))).toEqual([0, 3, 3, 5, 5]);
  // A gap at 5: points in [5, 7) have no order that is known; the base that begins there gives those from 7 on.
  expect([4, 5, 6, 7].map((seq) => from(seq, [5]))).toEqual([3, null, null, 5]);
  const floored = { ...state, floor: 3 };
  expect(replayStart(floored, 'a', 2)).toBeNull();
  expect(replayStart(floored, 'b', 5)).toEqual({ kind: 'empty' });
});
