import { describe, expect, it } from 'vitest';
import { type Line, linesOf } from '../../src/cli/lines.ts';

async function read(...chunks: (string | Buffer)[]): Promise<Line[]> {
  const stream = async function* () {
    for (const chunk of chunks) yield Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
  };
  const lines: Line[] = [];
  for await (const line of linesOf(stream())) lines.push(line);
  return lines;
}

describe('lines of NDJSON', () => {
  it('are found whatever the pieces they arrive in', async () => {
    const whole = '{"a":1}\n{"b":"ü"}\n{"c":3}';
    const bytes = Buffer.from(whole);
    for (let size = 1; size <= bytes.length; size += 1) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
        bytes.subarray(index * size, (index + 1) * size),
      );
      const lines = await read(...pieces);
      expect(lines.map(({ value }) => value)).toEqual(whole.split('\n'));
    }
  });

  it('keep the numbers an editor shows when blank lines are skipped', async () => {
    expect(await read('one\n\n   \r\ntwo\r\n')).toEqual([
      { number: 1, value: 'one' },
      { number: 4, value: 'two' },
    ]);
  });

  it('that are no UTF-8 are handed on byte for byte', async () => {
    expect(await read(Buffer.from([0xff, 0xfe]))).toEqual([{ number: 1, value: { base64: '//4=' } }]);
  });

  it('of nothing are none', async () => {
    expect(await read('')).toEqual([]);
    expect(await read('\n\n')).toEqual([]);
  });
});
