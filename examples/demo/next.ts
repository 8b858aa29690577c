import { ORIGINAL } from './messages.ts';
import { bold, dim, headline, print } from './screen.ts';
import type { Stage } from './stage.ts';

/** What is there to look at, and what to try next. */
export function sayWhatNext({ url, configFile, redis, kafka, shops }: Stage): void {
  const command = (words: string): string => `npm run -s cachewright -- ${words} --config ${configFile}`;
  const price = ORIGINAL.replace('"price":5599', '"price":4999');
  headline('It is all still up. Look at');
  list([
    ['the queues, the dead letter among them', `${url}/queues`],
    ['a record, as readers get it', `${url}/v1/records/productInfoService/200`],
    ['readiness', `${url}/readyz`],
    ['the source of the shops', `${shops.url}/shops/300`],
    ['Redis', redis.url],
    ...(kafka === undefined ? [] : [['Kafka', kafka.brokers.join(',')] as const]),
    ['the configuration', configFile],
  ]);
  headline('or try, in another terminal');
  for (const line of [
    command('get productInfoService 200'),
    kafka === undefined
      ? `curl -i -H 'content-type: application/json' -d '${price}' ${url}/v1/changes`
      : command(`publish --key 200 '${price}'`),
    command('trail productInfoService 200'),
    command(`try '{"serviceId":"shopInfoService","id":300}'`),
    command('doctor'),
    `redis-cli -p ${redis.port} GET product_info_200`,
  ]) {
    print(`  ${line}`);
  }
  print(`\n${bold('Ctrl-C ends it')} and everything that was started; nothing is left behind.`);
}

function list(entries: readonly (readonly [what: string, where: string])[]): void {
  const width = Math.max(...entries.map(([what]) => what.length));
  for (const [what, where] of entries) print(`  ${dim(what.padEnd(width))}  ${where}`);
}
