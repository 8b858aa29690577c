import { seeded, type Random } from './random.ts';

/** Services of the load: one whose messages carry the record, one whose records are fetched over HTTP. */
export type LoadService = 'stockService' | 'shopInfoService';

/** One message to produce. */
export interface Planned {
  readonly kind: 'update' | 'delete' | 'duplicate' | 'late' | 'broken';
  readonly partition: number;
  /** Empty for a broken message. */
  readonly key: string;
  readonly service: LoadService | '';
  readonly op: 'upsert' | 'delete';
  /** 0 for a broken message. */
  readonly version: number;
  readonly text: string;
  /** What the source of truth has from this message on: the record's text, null when it is gone; undefined: no change. */
  readonly truth: { readonly id: string; readonly text: string | null } | undefined;
}

/** A key of the load and what has to be served in the end. */
export interface LoadKey {
  readonly key: string;
  readonly service: LoadService;
  readonly id: string;
  /** Newest version. */
  readonly version: number;
  /** null: the newest change is a delete. */
  readonly text: string | null;
}

export interface Load {
  readonly batches: readonly (readonly Planned[])[];
  readonly keys: readonly LoadKey[];
}

export interface LoadShape {
  readonly messages: number;
  readonly keys: number;
  readonly partitions: number;
  readonly batch: number;
}

/** What a run has unless it says otherwise. */
export const FULL_LOAD: LoadShape = { messages: 1_200, keys: 50, partitions: 4, batch: 20 };

/** Versions of updates and deletes are multiples of this; those of late ones lie between, each by its index elsewhere. */
const STEP = 10_000;

interface Subject {
  readonly key: string;
  readonly service: LoadService;
  readonly id: string;
  version: number;
  text: string | null;
  readonly sent: Unplaced[];
}

/** A message before it is given its partition. */
type Unplaced = Omit<Planned, 'partition'>;

const BROKEN: Unplaced = {
  kind: 'broken',
  key: '',
  service: '',
  op: 'upsert',
  version: 0,
  text: '{"serviceId":',
  truth: undefined,
};

/**
 * Messages whose versions rise per key, with deletes, duplicates and late ones among them. A key's messages are spread
 * over all partitions, so that nothing but the fence puts them in order.
 */
export function planLoad(seed: number, shape: LoadShape): Load {
  const random = seeded(seed);
  const subjects = Array.from({ length: shape.keys }, (_, index) => subjectOf(index));
  const planned = Array.from({ length: shape.messages }, (_, index) => {
    // Every key begins with an update.
    const subject = subjects[index] ?? random.pick(subjects);
    return { ...messageOf(subject, index, random), partition: random.below(shape.partitions) };
  });
  const batches = Array.from({ length: Math.ceil(planned.length / shape.batch) }, (_, at) =>
    planned.slice(at * shape.batch, (at + 1) * shape.batch),
  );
  return { batches, keys: subjects };
}

function subjectOf(index: number): Subject {
  const isStock = index % 2 === 0;
  const id = String(1_000 + index);
  return {
    key: `${isStock ? 'stock' : 'shop_info'}_${id}`,
    service: isStock ? 'stockService' : 'shopInfoService',
    id,
    version: 0,
    text: null,
    sent: [],
  };
}

function messageOf(subject: Subject, index: number, random: Random): Unplaced {
  const chance = random.next();
  if (subject.version > 0) {
    if (chance < 0.01) return BROKEN;
    if (chance < 0.1) return { ...random.pick(subject.sent), kind: 'duplicate', truth: undefined };
    if (chance < 0.2 && subject.version > STEP) return lateOf(subject, index, random);
    if (chance < 0.28) return change(subject, index, 'delete');
  }
  return change(subject, index, 'update');
}

/** The next version of a key. */
function change(subject: Subject, index: number, kind: 'update' | 'delete'): Unplaced {
  subject.version += STEP;
  const text = textOf(subject, subject.version, index, kind);
  const record = kind === 'delete' ? null : recordOf(subject, subject.version, index, text);
  subject.text = record;
  const { key, service, version } = subject;
  const truth = service === 'stockService' ? undefined : { id: subject.id, text: record };
  const op = kind === 'delete' ? 'delete' : 'upsert';
  const message: Unplaced = { kind, key, service, op, version, text, truth };
  subject.sent.push(message);
  if (subject.sent.length > 5) subject.sent.shift();
  return message;
}

/** A message that was overtaken on its way: its version lies between two that were sent before, and ties with none. */
function lateOf(subject: Subject, index: number, random: Random): Unplaced {
  const versionsBack = 1 + random.below(Math.min(3, subject.version / STEP - 1));
  const version = subject.version - versionsBack * STEP + 1 + index;
  const change = random.next() < 0.2 ? 'delete' : 'update';
  return {
    kind: 'late',
    key: subject.key,
    service: subject.service,
    op: change === 'delete' ? 'delete' : 'upsert',
    version,
    text: textOf(subject, version, index, change),
    truth: undefined,
  };
}

function textOf({ service, id }: Subject, version: number, index: number, kind: 'update' | 'delete'): string {
  const op = kind === 'delete' ? { op: 'delete' } : {};
  return JSON.stringify({ serviceId: service, id, version, ...op, n: index });
}

/** The record that a reader gets: the message itself, or what the source has. */
function recordOf({ service, id }: Subject, version: number, index: number, message: string): string {
  return service === 'stockService'
    ? message
    : JSON.stringify({ id, version, name: `shop ${id} at ${index}` });
}
