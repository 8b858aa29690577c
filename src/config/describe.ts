/** docs/options.md, made from the schema. */
import { environmentNames, OTHER_NAMES } from './environment.ts';
import { FILE_NAMES } from './load-file.ts';
import { allowedIn } from './problems.ts';
import { configShape } from './resolve.ts';
import type { Shape } from './shape.ts';

const names = new Map(environmentNames(configShape).map(({ name, path }) => [path.join('.'), name]));

/** The page of all options. */
export function optionsMarkdown(): string {
  if (configShape.kind !== 'section') return '';
  const own = [...configShape.fields].filter(
    ([, field]) => field.kind !== 'section' && field.kind !== 'record',
  );
  const groups = [...configShape.fields].filter(
    ([, field]) => field.kind === 'section' || field.kind === 'record',
  );
  return [
    ...introduction(),
    '## General',
    '',
    ...table(own.flatMap(([name, field]) => rowsOf(field, name))),
    ...groups.flatMap(([name, field]) => groupOf(name, field)),
    '## Other names in the environment',
    '',
    '| name | what it is |',
    '| --- | --- |',
    ...Object.entries(OTHER_NAMES).map(([name, doc]) => `| \`${name}\` | ${cell(doc)} |`),
    '',
  ].join('\n');
}

function introduction(): string[] {
  return [
    '# Options',
    '',
    'Generated from the schema in `src/config/` by `npm run docs`; a test holds this page equal to it.',
    '',
    '- Precedence: flag over environment over configuration file over default. `cachewright config print --sources` shows what came from where.',
    `- The file is the one \`--config\` names, else \`CACHEWRIGHT_CONFIG\`, else the first of ${FILE_NAMES.map((name) => `\`${name}\``).join(', ')} in the working directory. In TypeScript and JavaScript export it as \`default\` or as \`config\`, checked by \`defineConfig\`.`,
    '- Relative paths in the file begin at the file; those of the environment and of defaults at the working directory.',
    "- A duration is a number of milliseconds, or text: `'500ms'`, `'30s'`, `'2m'`, `'1h'`, `'1d'`.",
    '- Lists in the environment are joined by commas. An empty variable counts as not set; an unknown `CACHEWRIGHT_…` is an error.',
    '- A **secret** may be a text, `{ "env": "NAME" }` or `{ "file": "path" }`; its name in the environment also takes `_FILE`, the path of a file. Secrets are shown as `***`.',
    '- **needed** in a section that itself need not be there means: needed with it. In brackets: the variants that have the option.',
    '- Places in a message or an answer are JSON pointers: `/after/id`; the empty one is the whole.',
    '',
  ];
}

function groupOf(name: string, shape: Shape): string[] {
  const inner = shape.kind === 'record' ? shape.item : shape;
  const path = shape.kind === 'record' ? `${name}.<id>` : name;
  return [`## ${name}`, '', inner.meta?.doc ?? '', '', ...table(fieldsOf(inner, path))];
}

interface Row {
  readonly path: string;
  readonly shape: Shape;
  /** The variants it belongs to, by their tags: `http`; empty: it is no matter of variants. */
  readonly variants: readonly string[];
}

function rowsOf(shape: Shape, path: string, variants: readonly string[] = []): Row[] {
  const row: Row = { path, shape, variants };
  if (shape.kind === 'list') return [row, ...fieldsOf(shape.item, `${path}[]`, variants)];
  if (shape.kind === 'record') return [row, ...fieldsOf(shape.item, `${path}.<name>`, variants)];
  return [row, ...fieldsOf(shape, path, variants)];
}

function fieldsOf(shape: Shape, path: string, variants: readonly string[] = []): Row[] {
  if (shape.kind === 'choice') return shape.options.flatMap((option) => fieldsOf(option, path, variants));
  if (shape.kind !== 'section') return [];
  const own = [...shape.fields].find(([, { meta }]) => meta?.tag !== undefined);
  const here = own?.[1].meta?.tag ?? variants;
  return [...shape.fields].flatMap(([name, field]) => rowsOf(field, `${path}.${name}`, here));
}

function table(rows: readonly Row[]): string[] {
  return [
    '| option | allowed | default | what it does, and what changing it costs |',
    '| --- | --- | --- | --- |',
    ...merged(rows.filter(isTold)).map(line),
    '',
  ];
}

/** A section that is always there says nothing its options do not say. */
function isTold({ shape }: Row): boolean {
  return shape.kind !== 'section' || shape.defaultValue === undefined;
}

/** What several variants share is told once. */
function merged(rows: readonly Row[]): Row[] {
  const told: Row[] = [];
  for (const row of rows) {
    const index = told.findIndex(
      ({ path, shape }) => path === row.path && shape.meta?.doc === row.shape.meta?.doc,
    );
    const same = told[index];
    if (same === undefined || row.shape.meta === undefined) told.push(row);
    else told[index] = { ...same, variants: [...same.variants, ...row.variants] };
  }
  return told;
}

function line({ path, shape, variants }: Row): string {
  const name = names.get(path);
  const isSecret = holdsSecret(shape);
  const option = [
    `\`${path}\``,
    ...(variants.length === 0 ? [] : [`(${variants.join(', ')})`]),
    ...(name === undefined ? [] : [`\`${name}\`${isSecret ? ', `…_FILE`' : ''}`]),
  ];
  const doc = `${isSecret ? '**Secret.** ' : ''}${cell(docOf(shape))}`;
  return `| ${option.join('<br>')} | ${cell(allowedOf(shape))} | ${defaultOf(shape)} | ${doc} |`;
}

function holdsSecret(shape: Shape): boolean {
  const item = shape.kind === 'list' || shape.kind === 'record' ? shape.item : shape;
  return item.meta?.secret !== undefined;
}

/** What secrets and durations have in common is told once, at the top of the page. */
function allowedOf(shape: Shape): string {
  if (shape.kind === 'section') return 'an object';
  if (shape.kind === 'list') return `${allowedIn(shape)}: ${allowedOf(shape.item)}`;
  if (shape.kind === 'choice' && shape.options.some((option) => option.kind !== 'section')) {
    return shape.options.map(allowedOf).join(', or ');
  }
  return allowedIn(shape).replace(/: milliseconds, or text such as .*$|, \{ "env".*$/, '');
}

function defaultOf({ kind, defaultValue, isOptional, meta }: Shape): string {
  if (!isOptional) return '**needed**';
  if (defaultValue === undefined || kind === 'section') return 'none';
  const text = meta?.show === undefined ? JSON.stringify(defaultValue) : meta.show(defaultValue);
  return defaultValue === '' ? 'empty' : `\`${text}\``;
}

function docOf(shape: Shape): string {
  if (shape.kind === 'choice') return shape.options.map(({ meta }) => meta?.doc ?? '').join(' · ');
  return shape.meta?.doc ?? '';
}

/** Text that stays within its cell. */
function cell(text: string): string {
  return text
    .replaceAll('|', '\\|')
    .replaceAll('\n', ' ')
    .replaceAll(/<(?=\w)/g, '&lt;');
}
