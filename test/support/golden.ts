import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const DIRECTORY = join(import.meta.dirname, '../fixtures/formats');

/** Where the golden file of a format lies. Such a file is never changed: it is what a released version has written. */
export function goldenFile(kind: string, format: number, extension = 'json'): string {
  return join(DIRECTORY, `${kind}-${format}.${extension}`);
}

/** The golden JSON of a format. */
export function golden(kind: string, format: number): unknown {
  return JSON.parse(readFileSync(goldenFile(kind, format), 'utf8'));
}

/** The formats of a kind of which there is a golden file, ascending. */
export function goldenFormats(kind: string): number[] {
  return readdirSync(DIRECTORY)
    .flatMap((name) => {
      const [, found, format] = /^(.+)-(\d+)\.\w+$/.exec(name) ?? [];
      return found === kind ? [Number(format)] : [];
    })
    .sort((a, b) => a - b);
}

/** The form of a value: names of fields and types of what stands in them; of a list the forms of its items, each once. */
export function formOf(value: unknown): unknown {
  if (value === null) return 'null';
  if (Array.isArray(value)) return [...new Set(value.map((item) => JSON.stringify(formOf(item))))].sort();
  if (typeof value !== 'object') return typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, formOf(field)]));
}
