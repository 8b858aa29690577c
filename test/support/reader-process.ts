/** A process that reads one record through `cachewright/reader` and says what it got: `REDIS_URL SOURCE_URL SERVICE ID`. */
import { createCacheReader } from '../../src/reader.ts';
import { fetchedService } from './readers.ts';

const [redisUrl = '', sourceUrl = '', service = '', id = ''] = process.argv.slice(2);
const reader = createCacheReader({
  redis: { url: redisUrl },
  services: { [service]: fetchedService(service, sourceUrl) },
});
console.log((await reader.get(service, id))?.text);
await reader.close();
