import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { fail } from '../core/errors.ts';
import { bytesOf } from './lines.ts';

/** Hex digits of a content's hash in message ids: 80 bits, so that no two contents meet by chance. */
export const HASH_DIGITS = 20;

/** Content whose hash is known, which needs to be read twice: once for the hash and once for the lines. */
export interface Input {
  /** `file:<hash>` */
  readonly stream: string;
  readonly bytes: number;
  read(): AsyncIterable<Buffer>;
  close(): Promise<void>;
}

/** Opens a file, or stdin (`-`), which is kept in a temporary file meanwhile. */
export async function openInput(file: string): Promise<Input> {
  return file === '-' ? spool() : describe(file, async () => undefined);
}

async function spool(): Promise<Input> {
  const dir = await mkdtemp(join(tmpdir(), 'cachewright-'));
  const remove = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    const copy = join(dir, 'stdin');
    const out = createWriteStream(copy);
    for await (const part of bytesOf('-')) {
      if (!out.write(part)) await once(out, 'drain');
    }
    out.end();
    await finished(out);
    return await describe(copy, remove);
  } catch (thrown) {
    await remove();
    throw thrown;
  }
}

async function describe(file: string, close: () => Promise<void>): Promise<Input> {
  const hash = createHash('sha256');
  for await (const part of bytesOf(file)) hash.update(part);
  const { size } = await stat(file);
  if (size === 0) {
    await close();
    throw fail('E_USAGE', { reason: 'There is nothing to ingest: the input is empty.' });
  }
  return {
    stream: `file:${hash.digest('hex').slice(0, HASH_DIGITS)}`,
    bytes: size,
    read: () => bytesOf(file),
    close,
  };
}
