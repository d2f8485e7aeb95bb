import { expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { cli } from './run-cli.ts';

const run = promisify(execFile);
const script = async (shell: string): Promise<string> => (await cli(['completion', shell], { variables: {} })).out;

/** What bash offers for words of which the last is being typed. */
async function offered(...words: readonly string[]): Promise<readonly string[]> {
  const typed = ['holdfast', ...words].map((word) => `'${word}'`).join(' ');
  const line = `${await script('bash')}\nCOMP_WORDS=(${typed}); COMP_CWORD=${words.length}; _holdfast; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return (await run('bash', ['--norc', '-c', line], { cwd: '/' })).stdout.trim().split('\n');
}

test('bash offers commands, their commands and their options', async () => {
  expect(await offered('sna')).toEqual(['snapshot']);
  expect(await offered('snapshot', 'un')).toEqual(['undelete']);
  expect(await offered('snapshot', 'create', 'db', '--allow-')).toEqual(['--allow-fuzzy', '--allow-shrink']);
  expect(await offered('rescue', 'restore', '--store', '/x', '--diff')).toEqual(['--differences']);
  expect(await offered('rescue', 'unseal', 'a', 'b', '--si')).toEqual(['--size']);
  expect(await offered('replicate', 'hi')).toEqual(['hide']);
  expect(await offered('receiver', 'token', 'add', '--qu')).toEqual(['--quota']);
  expect(await offered('replicate', 'receiver', 'add', 'offsite', '--s')).toEqual(['--seal']);
  expect(await offered('replicate', 'policy', 'set', 'db', '--after')).toEqual(['--after-capture']);
  expect(await offered('protect', 'fail')).toEqual(['failover', 'failback']);
  expect(await offered('protect', 'failover', 'db', '--acc')).toEqual(['--accept-tail-lost']);
  expect(await offered('protect', 'recover', 'db', '--in')).toEqual(['--in-place']);
  expect(await offered('protect', 'region', 'b')).toEqual(['back', 'backfill']);
  expect(await offered('protect', 'test', 'db', '--on')).toEqual(['--on']);
  expect(await offered('replica', 'serve', '--waiting')).toEqual(['--waiting-bytes', '--waiting-objects']);
  expect(await offered('replica', 'token', 're')).toEqual(['remove']);
  expect(await offered('journal', 'append', 's', '--resume')).toEqual(['--resume-at']);
  expect(await offered('restore', 'db', '/et')).toEqual(['/etc']);
});

test('zsh and fish scripts name every command, and are sound for the shells that are here', async () => {
  for (const shell of ['zsh', 'fish']) {
    const text = await script(shell);
    for (const word of ['snapshot', 'undelete', 'reconcile', 'allow-fuzzy']) expect(text).toContain(word);
    await run(shell, ['-n', '-c', text]).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }
});
