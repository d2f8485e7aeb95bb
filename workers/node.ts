#!/usr/bin/env node
/** A node: serves the queue of the host whose volumes it can read and write. */
import { runMain } from './worker-main.ts';
import { runWorkerProcess } from './worker-process.ts';

await runMain(() => runWorkerProcess('node', process.env));
