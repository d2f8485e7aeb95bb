/**
 * Safeguards taken out of the first host of a run by a patch, as the simulation's mutants are: what the campaign does not miss, it does not show.
 */
import type { Patch } from '../../simulation/patches.ts';
import type { Script } from './script.ts';

export interface Mutant {
  readonly name: string;
  readonly patches: readonly Patch[];
  /** Runs that need what is taken out. */
  fits(script: Script): boolean;
}

const patch = (file: string, find: string, replace: string): Patch => ({ file: `src/${file}`, find, replace });
const isKilled = ({ kills }: Script): boolean => kills.some(({ machine }) => !machine);
const losesMachine = ({ kills }: Script): boolean => kills.some(({ machine }) => machine);

export const MUTANTS: readonly Mutant[] = [
  {
    // What was changed under numbers that are gone is not recorded again.
    name: 'places_forgotten',
    patches: [
      patch('systems/protection/opening.ts', 'for (const stretch of how.stretches) await appendAsItIs(owner, volumes, stretch);', ''),
    ],
    fits: (script) => script.ending.kind === 'own' && isKilled(script) && !losesMachine(script),
  },
  {
    // What the write-ahead file has is not written again to volumes that have lost it.
    name: 'no_redo',
    patches: [
      patch(
        'systems/protection/opening.ts',
        'await redo(volumes, inFile ? writeAhead.contents.records(from) : recordsOfRegions(journal, from, end));',
        'void [redo, inFile, from, recordsOfRegions];',
      ),
    ],
    fits: losesMachine,
  },
  {
    // A flush is answered when the page cache has it.
    name: 'no_sync',
    patches: [
      patch(
        'engine/journal/write-ahead/segment-files.ts',
        'const file: FileHandle = await open(path, flags | (O_DSYNC ?? 0));',
        'const file: FileHandle = await open(path, flags);',
      ),
    ],
    fits: (script) => script.mode === 'local' && losesMachine(script),
  },
  {
    // A flush is answered before it is acknowledged.
    name: 'flush_at_once',
    patches: [
      patch(
        'systems/protection/recorder.ts',
        'return this.point(mode.owner).done;',
        'return void this.point(mode.owner).done.catch(() => undefined);',
      ),
    ],
    fits: ({ mode, ending }) => mode === 'pair' && ending.kind === 'host lost',
  },
  {
    // Whatever is in a batch's place is taken for it, and the log is not asked.
    name: 'exists_ok',
    patches: [
      patch('engine/journal/owning/lane.ts', "return there.equals(stored) ? 'ours' : 'stranger';", "return 'ours';"),
      patch('systems/protection/group.ts', 'status.endedBy ?? this.#overtaken(status)', 'status.endedBy'),
    ],
    fits: ({ ending }) => ending.kind === 'rival',
  },
];
