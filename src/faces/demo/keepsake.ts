/** For those who want to look: what is left in the folder with --keep, and Temporal's UI with --ui. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import type { DemoContext } from './demo-context.ts';
import { STORES } from './demo-folder.ts';
import { passphraseVariable, storeUrl, VOLUME } from './installation.ts';

const HOLD_MS = 60_000;

/** Leaves a file to be sourced, with the secrets of this demo, and says how to go on by hand. */
export async function keepsake({ folder, installation }: DemoContext): Promise<string> {
  const file = folder.inside('environment.sh');
  const variables = { ...installation.settings, ...installation.secrets };
  const lines = Object.entries(variables).map(([name, value]) => `export ${name}='${value}'\n`);
  await writeFile(file, lines.join(''), { mode: 0o600 });
  const [store] = STORES;
  return `
Everything is left in ${folder.root}. To go on by hand:
  . ${file}
  npm run holdfast -- snapshot list --all
  npm run holdfast -- rescue list --store ${storeUrl(folder, store)} --passphrase env:${passphraseVariable(store)}
  npm run holdfast -- rescue restore ${VOLUME} /tmp/again.img --store ${storeUrl(folder, 'beta')} --passphrase env:${passphraseVariable('beta')}
Temporal's data of before the wipe: ${folder.temporalDataBefore}
  temporal server start-dev --namespace holdfast --db-filename ${folder.temporalDataBefore}
To remove it: rm -r ${folder.root}
`;
}

/** Serves the UI with what Temporal held before it was wiped, until Ctrl-C. */
export async function serveUi({ folder, installation }: DemoContext, signal: AbortSignal): Promise<void> {
  await installation.stopAll();
  await installation.startTemporal(folder.temporalDataBefore);
  await installation.startWorker('controller');
  const { uiUrl, namespace, address } = installation.temporal;
  process.stdout.write(`
Temporal's UI, with all jobs of before the wipe: ${uiUrl ?? ''}/namespaces/${namespace}/workflows
  temporal workflow list --address ${address} --namespace ${namespace}
Ctrl-C ends it.
`);
  // The servers do not hold this process; something has to.
  const hold = setInterval(() => undefined, HOLD_MS);
  if (!signal.aborted) await once(signal, 'abort');
  clearInterval(hold);
}
