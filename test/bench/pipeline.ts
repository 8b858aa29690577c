import type { BenchRedis } from './lab.ts';

/** What a subject works on in one trial. */
export interface PipelineSetup {
  readonly brokers: readonly string[];
  readonly topic: string;
  readonly partitions: number;
  readonly groupId: string;
  readonly redis: BenchRedis;
}

/** A subject of the benchmark: the product or a baseline. */
export interface Pipeline<Running extends RunningPipeline = RunningPipeline> {
  readonly name: string;
  /** Members its consumer group has at the end: every process took part. */
  readonly members: number;
  /** False for a shape that writes without a fence: stale keys are then told, not held against the run. */
  readonly isFenced: boolean;
  /** Returns as soon as its processes exist. */
  start(setup: PipelineSetup): Running;
}

export interface RunningPipeline {
  pids(): readonly number[];
  /** Messages with which the pipeline is through, everything it does for one included. */
  done(): Promise<number>;
  /** Throws when its own books are wrong after `messages` messages. */
  verify(messages: number): Promise<void>;
  /** The last lines its processes wrote. */
  logTail(): string;
  /** Throws, with the end of its log, when a process has ended. */
  mustRun(): void;
  stop(): Promise<void>;
}
