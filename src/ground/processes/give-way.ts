/**
 * A process that works beside applications, and gives way to them: where the processor is wanted by both they come first. Beside nobody it
 * has all of it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/** Nice 10: a tenth of a processor beside one who wants all of it. */
const NICENESS = 10;

/**
 * Who has started it with less keeps it at that. Linux shares the processor among sessions first (sched_autogroup): one that is the process's
 * own, as with `holdfast up`, gives way as a whole.
 */
export function giveWay(): void {
  if (getPriority() >= NICENESS) return;
  setPriority(NICENESS);
  try {
    const [, , , session] = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ') ?? [];
    if (Number(session) === process.pid) writeFileSync('/proc/self/autogroup', String(NICENESS));
  } catch {
    // No Linux, or one without autogroups: then niceness says it all.
  }
}
