import { afterAll, beforeAll, test } from '@jest/globals';
import { describeWith, finder } from '../faces/stack/describe-with.ts';
import { raiseCast, type Cast } from './cast.ts';
import { SCENES } from './scenes.ts';

let cast: Cast;
const describeBoth = await describeWith('temporal', 's3');
describeBoth('with real worker processes', () => {
  beforeAll(async () => {
    cast = await raiseCast(finder);
    cast.begin('controller');
    cast.begin('node');
  });
  afterAll(async () => cast[Symbol.asyncDispose]());

  test.each(SCENES.map((scene, i) => ({ ...scene, volume: `scene-${i}` })))('$name', async ({ play, volume }) => {
    await play(cast, volume);
  });
});
