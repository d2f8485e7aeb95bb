/** What the demo says on a machine that lacks its tools. */
import { expect, test } from '@jest/globals';
import type { DemoContext } from '../../../src/faces/demo/demo-context.ts';
import { readDemoOptions } from '../../../src/faces/demo/demo-options.ts';
import { provision } from '../../../src/faces/demo/steps/prepare.ts';

test('without mke2fs it names the package, and the way to do without', async () => {
  const context = {
    options: await readDemoOptions([]),
    programs: { find: (program: string) => Promise.resolve(program === 'mke2fs' ? null : `/bin/${program}`) },
  };
  // Nothing else of the context is touched before the tools are there.
  const running = provision.run(context as unknown as DemoContext);
  await expect(running).rejects.toMatchObject({
    code: 'COMPONENT_UNAVAILABLE',
    message: expect.stringMatching(/apt-get install e2fsprogs.*--volume FILE/),
  });
});
