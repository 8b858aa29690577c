/** An audit thread that dies when it is first started, and is the real one afterwards. */
import { existsSync, writeFileSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

const { file }: { readonly file: string } = workerData;
const marker = `${file}.died`;
if (!existsSync(marker)) {
  writeFileSync(marker, '');
  throw new Error('out of luck');
}
await import('../../src/audit/writer-thread.ts');
