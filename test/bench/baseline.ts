import { join } from 'node:path';
import { startChild } from '../support/servers/process.ts';
import { type BaselineTask, DONE_KEY } from './baseline-child.ts';
import { childrenAsPipeline } from './children.ts';
import type { Pipeline } from './pipeline.ts';

export const nullPipeline: Pipeline = baseline('null', 'null-pipeline.ts', true);
export const textbookPipeline: Pipeline = baseline('textbook', 'textbook-pipeline.ts', false);

function baseline(name: string, file: string, isFenced: boolean): Pipeline {
  return {
    name,
    members: 1,
    isFenced,
    start({ brokers, topic, partitions, groupId, redis }) {
      const task: BaselineTask = { brokers, topic, partitions, groupId, redisUrl: redis.url };
      const child = startChild({
        name: `bench-${name}`,
        command: process.execPath,
        args: [join(import.meta.dirname, file), JSON.stringify(task)],
      });
      return {
        ...childrenAsPipeline([child]),
        done: async () => Number(await redis.client.get(DONE_KEY)),
        verify: () => Promise.resolve(),
      };
    },
  };
}
