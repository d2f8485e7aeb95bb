/** The demo: its steps in the order in which they are run. Each relies on what those before it have left. */
import type { DemoContext } from './demo-context.ts';
import type { DemoOptions } from './demo-options.ts';
import { STORES } from './demo-folder.ts';
import type { Step } from './step.ts';
import { reclaim, remove } from './steps/delete.ts';
import { interrupt } from './steps/interrupt.ts';
import { journal } from './steps/journal.ts';
import { image, provision, stores, untouched } from './steps/prepare.ts';
import { change, protect } from './steps/protect.ts';
import { replicate } from './steps/replicate.ts';
import { damage, restoreAlone, restoreElsewhere, restoreFirst } from './steps/rescue.ts';
import { serve } from './steps/serve.ts';
import { undo } from './steps/undo.ts';
import { wipe } from './steps/wipe.ts';

export const demoSteps = ({ volume }: Pick<DemoOptions, 'volume'>): readonly Step<DemoContext>[] => [
  provision,
  image,
  stores,
  protect,
  change,
  remove,
  reclaim,
  serve,
  journal,
  replicate,
  undo,
  interrupt,
  wipe,
  ...STORES.map(restoreAlone),
  restoreFirst,
  damage,
  restoreElsewhere,
  ...(volume === null ? [] : [untouched]),
];
