/** The machine's Java, which the broker and the connector run in, and what makes it start quickly on two cores. */
import { HoldfastError } from '../../domain/errors.ts';
import { findOnPath } from './component.ts';
import type { Component, FinderOptions } from './component.ts';

/** The serial collector and the first compiler tier: ready in seconds, small, and fast enough for one machine. */
export const JVM_SMALL = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'] as const;

export async function findJava({ name, remedy }: Component, { environment }: Pick<FinderOptions, 'environment'>): Promise<string> {
  const java = await findOnPath('java', environment.searchPath);
  if (java !== null) return java;
  throw new HoldfastError('COMPONENT_UNAVAILABLE', `${name} cannot be had here: there is no \`java\`; ${remedy}`, { component: name });
}
