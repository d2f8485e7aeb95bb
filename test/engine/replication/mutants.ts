/**
 * The mutants: each safeguard of the reducers taken out by a patch, which the model must notice (docs/replication.md section 10).
 *
 * Where two safeguards close one hole, a mutant removes both.
 */
import type { Patch } from '../../simulation/patches.ts';

export interface Mutant {
  readonly name: string;
  readonly patches: readonly Patch[];
}

const patch = (file: string, find: string, replace: string): Patch => ({ file: `src/engine/replication/${file}.ts`, find, replace });

const HEED = 'if (isNew && !inquiry.underWay) for (const [, entry] of absent) entry.asked = null;';

export const MUTANTS: readonly Mutant[] = [
  { name: 'asked_kept', patches: [patch('dictionary', 'entry.asked = null;\n}', '}'), patch('dictionary', HEED, '')] },
  { name: 'under_way_unheeded', patches: [patch('dictionary', HEED, '')] },
  { name: 'asked_unmarked', patches: [patch('dictionary', 'entry.asked = round;', 'void entry;')] },
  { name: 'repeat_empty', patches: [patch('dictionary', 'asked === (isNew ? null : round)', 'asked === null')] },
  {
    name: 'commit_unasked',
    patches: [patch('receiver', 'isHeard(receiver, message) && withheld(receiver).length === 0', 'isHeard(receiver, message)')],
  },
  {
    name: 'close_unproven',
    patches: [patch('dictionary', 'for (const reference of proof.lost) want(dictionary, reference, false);', '')],
  },
  {
    name: 'pages_unasked',
    patches: [patch('dictionary', 'inquiry.pages.filter((page) => !dictionary.pages.has(page))', 'inquiry.pages.filter(() => false)')],
  },
  { name: 'false_data', patches: [patch('receiver', 'if (!isTrue) {', 'if (!isTrue && receiver.epoch < 0) {')] },
  {
    name: 'dead_ignored',
    patches: [
      patch(
        'receiver',
        'for (const reference of references) want(dictionaryOf(receiver, subtree), reference, false);',
        'void [subtree, references];',
      ),
    ],
  },
  { name: 'duplicates_kept', patches: [patch('receiver', 'let accepted = false;', 'let accepted = true;')] },
  { name: 'uncapped', patches: [patch('dictionary', '.slice(0, namesMax)', '.slice(0, namesMax + 1)')] },
  { name: 'stale_round', patches: [patch('receiver', "if (message.round < dictionary.round) return refused('ROUND_OVER');", '')] },
  {
    name: 'old_epoch',
    patches: [
      patch(
        'receiver',
        "receiver.status === 'open' && message.epoch === receiver.epoch",
        "receiver.status === 'open' && message.epoch > 0",
      ),
    ],
  },
  { name: 'open_unseen', patches: [patch('receiver', "open.seen >= claim.epoch ? 'claim' : 'taken'", "'claim'")] },
  { name: 'older_attempt', patches: [patch('receiver', "open.attempt > claim.attempt ? 'claim' : 'older'", "'claim'")] },
  {
    name: 'gone_ignored',
    patches: [
      patch(
        'sender',
        'if (gone.size > 0 && sender.end === null) sender.giving ??=',
        'if (gone.size < 0 && sender.end === null) sender.giving ??=',
      ),
    ],
  },
  { name: 'late_answer', patches: [patch('sender', 'own.closed || answer.round !== own.round', 'own.closed')] },
  {
    name: 'receipt_of_before',
    patches: [patch('sender', '(own.push.get(answer.name)?.turn ?? Infinity) <= answer.turn', 'answer.turn >= 0')],
  },
  { name: 'pushed_for_each', patches: [patch('sender', 'if (isBroughtBy(sender, own, reference.name))', 'if (reference.at < 0)')] },
  { name: 'older_list_heeded', patches: [patch('sender', 'else if (!kept.has(reference.name))', 'else')] },
  { name: 'awaited_for_ever', patches: [patch('sender', 'awaitNoMore(sender, [...own.push.keys(), ...own.ahead.keys()]);', '')] },
  { name: 'withheld_ignored', patches: [patch('sender', '  own.closed = false;\n  inquireIfIdle(own);', '')] },
];
