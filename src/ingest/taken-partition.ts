/**
 * One partition this instance reads: what its mark was when last read or written, and where it goes on. All moves of the
 * mark of a partition in this process go through here, one at a time.
 */
import { asError, fail } from '../core/errors.ts';
import type { ChangeSource, Clock, Log, Mark, MarkName, MarkStore, SourcePartition } from '../core/ports.ts';
import { createTurns } from '../core/turns.ts';
import { type Decision, decide, LOUD } from './mark.ts';

/** Looks again this often before it believes that the log ends before the mark: a new leader answers low for a moment. */
const LOOKS = 4;
const LOOK_AGAIN_MS = 1_000;
/** How soon a commit is noted in the mark when no next batch does it, milliseconds. */
const NOTE_MS = 25;
const UNTAKEN = -1;

export interface TakenOptions {
  readonly source: Pick<ChangeSource, 'clusterId' | 'groupId'>;
  readonly marks: MarkStore;
  readonly onMissingMark: 'earliest' | 'committed';
  readonly clock: Clock;
  readonly log: Log;
}

export class TakenPartition {
  readonly topic: string;
  readonly partition: number;
  /** Next offset to enqueue. */
  next = 0n;
  /**
   * Whether the source is known to stand at `next`. A comparison may send it elsewhere while a batch from its old place is
   * already on its way: of such a batch nothing may be enqueued.
   */
  isPlaced = false;
  /** How often mark and commit were compared. */
  compared = 0;
  /** Waits until nobody else works on this partition; the caller has it until it calls what is returned. */
  readonly enter = createTurns(1);
  #name: MarkName;
  #mark: Mark | null = null;
  #generation = UNTAKEN;
  /** Committed, and not yet noted in the mark; '' when all is noted. */
  #unnoted = '';
  #isNoteDue = false;
  readonly #options: TakenOptions;

  constructor(topic: string, partition: number, options: TakenOptions) {
    this.topic = topic;
    this.partition = partition;
    this.#options = options;
    this.#name = this.#nameNow();
  }

  get epoch(): number {
    return this.#mark?.epoch ?? 0;
  }

  /** Whether mark and commit were compared in this generation, and nothing happened since that asks for it again. */
  isTaken(generation: number): boolean {
    return this.#generation === generation;
  }

  /** Asks for a comparison before the next enqueue. */
  release(): void {
    this.#generation = UNTAKEN;
  }

  /** Whether its mark stands where its jobs go, see {@link MarkStore.settle}; moves it there if it may. */
  async isSettled(): Promise<boolean> {
    const leave = await this.enter();
    try {
      await this.#options.marks.settle(this.#nameNow());
      return true;
    } finally {
      leave();
    }
  }

  /**
   * Compares mark and commit, and makes the mark what it must be before anything is enqueued.
   *
   * @param look asks the source: its bounds and commit
   * @param wait a pause of so many milliseconds between two looks
   */
  async take(look: SourcePartition, wait: (ms: number) => Promise<void>): Promise<Decision> {
    const { source, marks, onMissingMark, clock } = this.#options;
    const generation = look.generation;
    for (let looks = 1; ; looks += 1) {
      const name = this.#nameNow();
      await marks.settle(name);
      // In this order: an owner that still works moves the mark, then commits. Read the other way round, its progress
      // in between would look like a mark that was rolled back.
      const committed = await look.committed();
      const [mark, latest] = await Promise.all([marks.read(name), marks.latest(name)]);
      const bounds = await look.bounds();
      // The address led to another cluster meanwhile: an offset of the one is no place in the other's log.
      if (name.clusterId !== source.clusterId) continue;
      const unknownEpoch = Math.floor(clock.now() / 1_000);
      const decision = decide({
        clusterId: source.clusterId,
        mark,
        latest,
        committed,
        bounds,
        onMissingMark,
        unknownEpoch,
      });
      if (decision.kind === 'beyondEnd' && looks < LOOKS) {
        await wait(LOOK_AGAIN_MS);
        continue;
      }
      // An owner that committed and noted it between the two looks is no operator who set the offsets back.
      if (decision.kind === 'rewound' && (await look.committed()) !== committed) continue;
      if (decision.mark !== mark && !(await marks.move(name, mark, decision.mark))) continue;
      this.#name = name;
      this.#mark = decision.mark;
      this.#unnoted = '';
      this.next = BigInt(decision.from);
      this.isPlaced = false;
      this.#generation = generation;
      this.compared += 1;
      this.#tell(decision, committed, mark);
      return decision;
    }
  }

  /** Whether the mark may move there, for a batch that began after so many comparisons: one that was given up may be long behind. */
  #mayMoveTo(lastOffset: string, compared: number): boolean {
    return compared === this.compared && BigInt(lastOffset) >= this.next;
  }

  /**
   * Moves the mark to the last offset enqueued.
   *
   * @returns false when another consumer, or a later batch of this one, moved it meanwhile: nothing may be committed, compare again
   */
  async moveTo(lastOffset: string, compared: number): Promise<boolean> {
    if (!this.#mayMoveTo(lastOffset, compared)) return false;
    const to = { ...this.#noted(), enqueued: lastOffset };
    if (!(await this.#move(to))) return false;
    this.next = BigInt(lastOffset) + 1n;
    return true;
  }

  /** The same, sent right behind the jobs it moves over; `early` when they are not in the queue (yet). */
  async moveBehind(
    lastOffset: string,
    compared: number,
    jobs: readonly string[],
  ): Promise<'moved' | 'elsewhere' | 'early'> {
    if (!this.#mayMoveTo(lastOffset, compared)) return 'elsewhere';
    const to = { ...this.#noted(), enqueued: lastOffset };
    const unnoted = this.#unnoted;
    const moved = await this.#options.marks.moveBehind(this.#name, this.#mark, to, jobs);
    if (moved !== 'moved') return moved;
    this.#became(to, unnoted);
    this.next = BigInt(lastOffset) + 1n;
    return moved;
  }

  /** Remembers that Kafka acknowledged a commit; it is noted with the next move, or soon by itself. */
  acknowledge(offset: string): void {
    this.#unnoted = offset;
    if (this.#isNoteDue) return;
    this.#isNoteDue = true;
    void this.#options.clock.sleep(NOTE_MS).then(() => {
      this.#isNoteDue = false;
      return this.note();
    });
  }

  /** Notes the last acknowledged commit in the mark. Failing is no harm: the next comparison finds mark and commit in order. */
  async note(): Promise<void> {
    if (this.#unnoted === '') return;
    const leave = await this.enter();
    try {
      if (this.#unnoted !== '' && !(await this.#move(this.#noted()))) this.release();
    } catch (error) {
      this.#options.log.debug(
        { topic: this.topic, partition: this.partition, err: asError(error).message },
        'commit not noted',
      );
    } finally {
      leave();
    }
  }

  #noted(): Mark {
    if (this.#mark === null)
      throw fail('E_UNEXPECTED', { what: 'a partition was enqueued before it was taken' });
    return this.#unnoted === '' ? this.#mark : { ...this.#mark, committed: this.#unnoted };
  }

  async #move(to: Mark): Promise<boolean> {
    const unnoted = this.#unnoted;
    if (!(await this.#options.marks.move(this.#name, this.#mark, to))) return false;
    this.#became(to, unnoted);
    return true;
  }

  #became(mark: Mark, noted: string): void {
    this.#mark = mark;
    if (this.#unnoted === noted) this.#unnoted = '';
  }

  #nameNow(): MarkName {
    const { clusterId, groupId } = this.#options.source;
    return { clusterId, groupId, topic: this.topic, partition: this.partition };
  }

  #tell({ kind, from, lost, mark }: Decision, committed: string | null, before: Mark | null): void {
    const { log } = this.#options;
    const fields = {
      topic: this.topic,
      partition: this.partition,
      kind,
      from,
      lost,
      epoch: mark.epoch,
      committed,
      before,
    };
    if (LOUD.has(kind)) log.error(fields, SAID[kind]);
    else log.debug(fields, SAID[kind]);
  }
}

const SAID: Readonly<Record<Decision['kind'], string>> = {
  fresh: 'partition taken for the first time',
  level: 'partition taken: mark and commit agree',
  ahead: 'partition taken: messages after the commit are enqueued already',
  rolledBack: 'the mark is behind the commit, so Redis lost what it knew: reading again from the mark',
  expired: 'retention removed messages before they were read: going on at the first one left',
  rewound: "the group's offset was set back or deleted: obeying, in a new epoch",
  recreated: 'the topic was made anew: reading it from its beginning, in a new epoch',
  beyondEnd:
    'the log ends before the mark, so it was truncated or made anew: reading it from its beginning, in a new epoch',
  otherCluster: 'this is another Kafka cluster than before: obeying its offsets, in a new epoch',
  markMissing:
    'the group has commits but there is no mark, so Redis lost it: see ingest.onMissingMark; a new epoch begins',
};
