import { waitFor } from '../../test/support/servers/process.ts';
import type { Look } from './look.ts';
import { DELETE, ORIGINAL, POISON, productMessage, SHOP, THIN } from './messages.ts';
import { green, print, red } from './screen.ts';
import type { Stage } from './stage.ts';
import type { Tour } from './travel.ts';

const HOUR_MS = 3_600_000;

const product = (text: string | null) => ({
  service: 'productInfoService',
  id: '200',
  key: 'product_info_200',
  text,
});

/** Sends the demo's messages, one after the other. Returns the id of the poison message. */
export async function playJourneys({ travel }: Tour, stage: Stage): Promise<string> {
  await playWrites(travel);
  await travel({
    title: 'a delete',
    look: "It carries no version: the message's own time stands in. A tombstone keeps it.",
    key: '200',
    text: DELETE,
    ends: 'evicted',
    value: product(null),
  });
  const poison = await travel({
    title: 'a poison message',
    look: 'It can never be read: rejected at once, on record, and kept with its bytes as a dead letter.',
    key: '200',
    text: POISON,
    ends: 'rejected',
    code: 'E_MESSAGE_NOT_JSON',
  });
  await playShop(travel, stage);
  await travel({
    title: "the original's message once more",
    look: 'Newer than the delete, and so the product is back: neither tombstone nor poison are in its way.',
    key: '200',
    text: ORIGINAL,
    ends: 'redisCached',
    value: product(ORIGINAL),
  });
  return poison;
}

async function playWrites(travel: Tour['travel']): Promise<void> {
  await travel({
    title: "the original's message",
    look: 'received → parsed → fetched → localCached → redisCached, as in the original system.',
    key: '200',
    text: ORIGINAL,
    ends: 'redisCached',
    value: product(ORIGINAL),
  });
  const changedAt = new Date();
  const updated = productMessage(5299, changedAt);
  const update = await travel({
    title: 'an update',
    look: 'It says when the product was changed, which is later than what is cached: it replaces it.',
    key: '200',
    text: updated,
    ends: 'redisCached',
    value: product(updated),
  });
  await travel({
    title: 'an older update, out of order',
    look: 'Changed an hour before: the fence refuses it and names the message that was newer.',
    key: '200',
    text: productMessage(6099, new Date(changedAt.getTime() - HOUR_MS)),
    ends: 'superseded',
    supersededBy: update,
    value: product(updated),
  });
  await travel({
    title: 'a duplicate of the update',
    look: 'The same bytes and the same version: it ends well and changes nothing.',
    key: '200',
    text: updated,
    ends: 'redisCached',
    value: product(updated),
  });
}

async function playShop(travel: Tour['travel'], { shops }: Stage): Promise<void> {
  const text = JSON.stringify(SHOP);
  shops.putText('300', text);
  shops.failNext(2, 503);
  await travel({
    title: 'a thin message, and a source that fails twice',
    look: 'It only names the shop. Its source answers 503 twice; the job waits in BullMQ and is tried again.',
    key: '300',
    text: THIN,
    ends: 'redisCached',
    attempts: 2,
    value: { service: 'shopInfoService', id: '300', key: 'shop_info_300', text },
  });
}

/** The poison message has to lie in the queue of dead letters. Returns what is wrong as a sentence, or ''. */
export async function findDeadLetter(look: Look): Promise<string> {
  try {
    await waitFor(async () => (await look.deadLetters()) === 1, {
      what: 'one dead letter',
      timeoutMs: 10_000,
    });
    print(`\n  ${green('✓')} one dead letter: the poison message, with its bytes and the reason`);
    return '';
  } catch {
    const surprise = `there are ${await look.deadLetters()} dead letters, expected was 1`;
    print(`\n  ${red('✗')} ${surprise}`);
    return surprise;
  }
}
