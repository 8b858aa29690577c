/** The commands that send messages and look at what became of them. */
import type { Command } from 'commander';
import { action, readCount } from './command.ts';
import { readPartitions, readRate } from './replay-start.ts';
import { examples } from './service-commands.ts';

export function addDataCommands(program: Command): void {
  addPublish(program);
  addIngest(program);
  addReplay(program);
  addGet(program);
  addTrail(program);
  addTry(program);
  addFence(program);
}

function addPublish(program: Command): void {
  program
    .command('publish')
    .description('send messages to Kafka, as they are, and print their ids')
    .argument('[message]', 'the message; - or nothing: a message per line from stdin')
    .option('-f, --file <file>', 'a message per line from this file')
    .option('-t, --topic <topic>', 'topic (needed when several are configured)')
    .option('-k, --key <key>', 'Kafka key of every message')
    .addHelpText(
      'after',
      examples(
        `cachewright publish '{"serviceId":"productInfoService","id":200}'`,
        'cachewright publish --topic products --key 200 < changes.ndjson',
        'cachewright publish --file changes.ndjson',
      ),
    )
    .action(action(async () => (await import('./publish.ts')).publishCommand));
}

function addIngest(program: Command): void {
  program
    .command('ingest')
    .description('put the messages of a file (NDJSON) into the queue, without Kafka')
    .argument('<file>', 'the file; -: stdin')
    .option('--again', 'once more, although this content was ingested before', false)
    .addHelpText(
      'after',
      `${examples(
        'cachewright ingest changes.ndjson',
        'cachewright ingest changes.ndjson --again',
        'zcat changes.ndjson.gz | cachewright ingest -',
      )}
A message's id is file:<hash of the content>@<line>. An interrupted run goes on where it stopped, and the same
content a second time does nothing, unless --again.`,
    )
    .action(action(async () => (await import('./ingest.ts')).ingestCommand));
}

function addReplay(program: Command): void {
  program
    .command('replay')
    .description("put a topic's messages into the queue once more; the fence refuses what was overtaken")
    .option('-t, --topic <topic>', 'topic (needed when several are configured)')
    .option('-p, --partition <list>', 'only these partitions, e.g. 0,3', readPartitions)
    .option('--from-beginning', 'all that Kafka still has', false)
    .option('--since <time>', 'from the first message of this time on: ISO time, epoch milliseconds, or 2h')
    .option('--offsets <offsets>', 'from these offsets on: 0:1200,1:800, or a JSON file; -: stdin')
    .option('--rate <count>', 'messages a second; 0: as fast as the queue has room', readRate, 5_000)
    .option('--dry-run', 'print the counts and do nothing', false)
    .addHelpText(
      'after',
      `${examples(
        'cachewright replay --from-beginning --dry-run',
        'cachewright replay --topic products --since 2h --yes',
        'cachewright replay --offsets 0:1200,1:800 --rate 500 --yes',
      )}
It ends where ingest stands. Offsets and marks of the group stay as they are. An interrupted one prints the
--offsets that go on; with --json what it prints is itself a file for --offsets.`,
    )
    .action(action(async () => (await import('./replay.ts')).replayCommand));
}

function addGet(program: Command): void {
  program
    .command('get')
    .description('print a cached record; its version, tier and age go to stderr')
    .argument('<service>', 'the service')
    .argument('<id>', 'the id of the record')
    .addHelpText(
      'after',
      `${examples(
        'cachewright get productInfoService 200',
        'cachewright get productInfoService 200 --json',
        'cachewright get shopInfoService 300 --url http://10.0.0.7:8080',
      )}
Asks the running instance; when none answers, Redis.`,
    )
    .action(action(async () => (await import('./get.ts')).getCommand));
}

function addTrail(program: Command): void {
  program
    .command('trail')
    .description('print what happened to a record, a key or a message, step by step')
    .argument('[service]', 'the service')
    .argument('[id]', 'the id of the record')
    .option('-k, --key <key>', 'instead: a cache key')
    .option('-m, --message <message>', 'instead: a message id')
    .option('-n, --limit <count>', 'at most so many executions, the newest', readCount, 100)
    .addHelpText(
      'after',
      `${examples(
        'cachewright trail productInfoService 200',
        'cachewright trail --key product_info_200',
        'cachewright trail --message cache-message-0@17 --json',
      )}
Asks the running instance; when none answers, the audit store.`,
    )
    .action(action(async () => (await import('./trail.ts')).trailCommand));
}

function addTry(program: Command): void {
  program
    .command('try')
    .description('say what a message would do: parse it, fetch its record, ask the fence, write nothing')
    .argument('[message]', 'the message; - or nothing: all of stdin')
    .option('-t, --topic <topic>', 'read it as a message of this topic (needed when several are configured)')
    .option('-k, --key <key>', 'its Kafka key')
    .addHelpText(
      'after',
      examples(
        `cachewright try '{"serviceId":"shopInfoService","id":300}'`,
        'cachewright try --topic products --key 200 < message.json',
        `cachewright try '{"serviceId":"shopInfoService","id":300}' --json | jq .runs`,
      ),
    )
    .action(action(async () => (await import('./try.ts')).tryCommand));
}

function addFence(program: Command): void {
  const fence = program
    .command('fence')
    .description('look at the fence of a record (its remembered version), or take it away')
    .addHelpText(
      'after',
      examples(
        'cachewright fence show stockService 7',
        "cachewright fence reset stockService 7 --reason 'versions count anew since the migration'",
      ),
    );
  fence
    .command('show')
    .description('print what the fence of a record says')
    .argument('<service>', 'the service')
    .argument('<id>', 'the id of the record')
    .addHelpText(
      'after',
      `${examples('cachewright fence show stockService 7', 'cachewright fence show stockService 7 --json | jq .version')}
Asks Redis. Ends with 3 when messages of the service as it is configured cannot be compared with the fence.`,
    )
    .action(action(async () => (await import('./fence.ts')).fenceShowCommand));
  fence
    .command('reset')
    .description('take the fence of a record away, so that its next write decides; kept in the audit')
    .argument('<service>', 'the service')
    .argument('<id>', 'the id of the record')
    .option('--reason <why>', 'why: kept in the audit (needed)')
    .addHelpText(
      'after',
      `${examples("cachewright fence reset stockService 7 --reason 'the version rule has changed'")}
The value stays and is served on. Until its next write also an older message is taken for the newest: send the
newest change of the record again.`,
    )
    .action(action(async () => (await import('./fence.ts')).fenceResetCommand));
}
