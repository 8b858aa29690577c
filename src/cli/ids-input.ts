import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { fail } from '../core/errors.ts';
import { adminText, WARM_STREAM } from '../ingest/admin.ts';
import { HASH_DIGITS, type Input } from './input.ts';
import { bytesOf, linesOf } from './lines.ts';

/** Ids as the messages that refresh their records, in a temporary file: named by their content, so that warming is resumed. */
export async function openIds(service: string, ids: AsyncIterable<string>): Promise<Input & { ids: number }> {
  const dir = await mkdtemp(join(tmpdir(), 'cachewright-'));
  const close = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    const file = join(dir, 'messages');
    const out = createWriteStream(file);
    const hash = createHash('sha256');
    let count = 0;
    for await (const id of ids) {
      const line = `${adminText(service, id, 'refresh', '')}\n`;
      hash.update(line);
      count += 1;
      if (!out.write(line)) await once(out, 'drain');
    }
    out.end();
    await finished(out);
    if (count === 0) throw fail('E_USAGE', { reason: 'There is nothing to warm: no ids were given.' });
    const { size: bytes } = await stat(file);
    const stream = `${WARM_STREAM}${hash.digest('hex').slice(0, HASH_DIGITS)}`;
    return { stream, bytes, ids: count, read: () => bytesOf(file), close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

/** An id per line of a file, or of stdin for `-`; blank lines are skipped. */
export async function* idsOfFile(file: string): AsyncGenerator<string> {
  for await (const { number, value } of linesOf(bytesOf(file))) {
    if (typeof value !== 'string')
      throw fail('E_USAGE', { reason: `Line ${number} of ${file} is not valid UTF-8.` });
    yield value.trim();
  }
}
