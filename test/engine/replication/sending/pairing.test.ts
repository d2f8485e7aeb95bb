import { expect, test } from '@jest/globals';
import type { AnswerFrame, SessionMessageFrame } from '../../../../src/engine/replication/frames.ts';
import { pairAnswers } from '../../../../src/engine/replication/sending/pairing.ts';
import { newSnapshotId, lineageOf, volumeName } from '../../../../src/domain/ids.ts';

const SESSION = { kind: 'SESSION', epoch: 1, snapshot: newSnapshotId(1, () => 0), lineage: lineageOf(volumeName('v'), 1) } as const;
const page = (n: number): SessionMessageFrame => ({ kind: 'REFERENCES', whole: true, turn: 0, subtree: 0, page: n, rows: [] });
const data = (name: string, turn = 0): SessionMessageFrame => ({ kind: 'DATA', asked: true, turn, name, codec: 0, body: Buffer.alloc(1) });
const noted = (n: number): AnswerFrame => ({ kind: 'NOTED', turn: 0, subtree: 0, page: n });
const kept = (accepted: number, dropped = 0, turn = 0): AnswerFrame => ({ kind: 'KEPT', turn, accepted, dropped });
const refused: AnswerFrame = { kind: 'REFUSED', code: 'NAME_FALSE', message: '' };

test('a KEPT is for the data that has no answer yet, and what was refused is paired with what followed', () => {
  const rest = [page(0), data('a'), data('b'), data('c'), page(1)];
  const pairs = pairAnswers(SESSION, rest, [noted(0), kept(1, 1), refused]);
  expect(pairs.map(({ said, answer }) => [said, answer.kind])).toEqual([
    [rest[0], 'NOTED'],
    [rest[1], 'KEPT'],
    [rest[2], 'KEPT'],
    [rest[3], 'REFUSED'],
  ]);
});

test('a row of data may be answered in parts, of one turn each', () => {
  const rest = [data('a'), data('b'), data('c', 1)];
  expect(pairAnswers(SESSION, rest, [kept(1), kept(1), kept(0, 1, 1)])).toHaveLength(3);
});

test.each<readonly [string, readonly AnswerFrame[]]>([
  ['fewer than there were messages', [noted(0)]],
  ['more', [noted(0), kept(1), noted(1), noted(2)]],
  ['to another page', [noted(1), kept(1), noted(0)]],
  ['data kept that was not sent', [noted(0), kept(2), noted(1)]],
  ['data kept of another turn', [noted(0), kept(1, 0, 1), noted(1)]],
  ['nothing kept', [noted(0), kept(0), noted(1)]],
])('answers that fit nothing are refused: %s', (_, answers) => {
  expect(() => pairAnswers(SESSION, [page(0), data('a'), page(1)], answers)).toThrow(expect.objectContaining({ code: 'FRAME_INVALID' }));
});

test('COMMITTED ends an exchange, whatever it answers', () => {
  expect(pairAnswers(SESSION, [data('a'), data('b')], [{ kind: 'COMMITTED', root: '' }])).toHaveLength(1);
});
