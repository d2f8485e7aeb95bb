/** The simulation of the repository: what its runs are drawn from, and the command that repeats one. */
import { mutantNamed, type Simulation, type Work } from './campaign.ts';
import { MUTANTS, PARALLEL_COLLECTORS, type Mutant } from './mutants.ts';
import { SMALL_SCALE } from './scale.ts';

/** In which runs packs are deleted, cut and rot: one in three, all, none. */
export type Harm = 'some' | 'all' | 'none';

export interface RepositoryWork extends Work {
  readonly hot: boolean;
  readonly harm: Harm;
  readonly scale: string;
  readonly parallelCollectors: boolean;
}

export const repositorySimulation: Simulation<RepositoryWork> & { readonly mutants: readonly Mutant[] } = {
  name: 'repository',
  mutants: MUTANTS,
  patches: ({ scale, parallelCollectors }) => [
    ...(scale === 'small' ? SMALL_SCALE : []),
    ...(parallelCollectors ? PARALLEL_COLLECTORS : []),
  ],
  async load() {
    const [{ runSeed }, { runSeeds }] = await Promise.all([import('./run.ts'), import('./seeds.ts')]);
    return (work, { trace, onSeed }) =>
      runSeeds(work, (seed) => runSeed({ ...work, seed, trace, harmful: isHarmful(work.harm, seed) }), onSeed);
  },
  repeat: (seed, { steps, mutant, hot, harm, parallelCollectors, scale }) =>
    `npm run simulate -- --seeds 1 --from ${seed} --steps ${steps}${mutant === null ? '' : ` --mutant ${mutant}`}${hot ? ' --hot' : ''}${harm === 'all' ? ' --harm' : ''}${parallelCollectors ? ' --parallel-collectors' : ''}${scale === 'small' ? '' : ` --scale ${scale}`} --trace`,
};

const isHarmful = (harm: Harm, seed: number): boolean => harm === 'all' || (harm === 'some' && seed % 3 === 0);

/** A mutant's seed is that of a run with damage, or of one without. */
export function harmOf(asked: boolean, mutant: string | null): Harm {
  if (asked) return 'all';
  if (mutant === null) return 'some';
  return mutantNamed(MUTANTS, mutant).harm ? 'all' : 'none';
}
