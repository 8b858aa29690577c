export const TOPIC = 'cache-message';

/** The demo's cachewright.config.json: the original's inline service, and one that is fetched over HTTP. */
export function demoConfig(at: {
  readonly redis: string;
  readonly brokers: readonly string[] | undefined;
  readonly shops: string;
  readonly port: number;
}): string {
  const config = {
    ...(at.brokers !== undefined && {
      kafka: { brokers: at.brokers, topics: [TOPIC], groupId: 'cachewright' },
    }),
    redis: { url: at.redis },
    audit: { url: 'sqlite:./cachewright-audit.db' },
    http: { host: '127.0.0.1', port: at.port },
    log: { messages: 'all', format: 'pretty' },
    services: {
      productInfoService: {
        source: { type: 'inline' },
        key: 'product_info_{id}',
        version: { from: 'record', field: 'modifiedTime', kind: 'time', missing: 'timestamp' },
      },
      shopInfoService: {
        key: 'shop_info_{id}',
        version: { from: 'record', field: 'version', kind: 'counter' },
        source: {
          type: 'http',
          url: `${at.shops}/shops/{id}`,
          timeoutMs: 2_000,
          // A file instead of a variable, so that the commands to try work in any shell.
          headers: { authorization: { file: './shop-token' } },
          batch: { url: `${at.shops}/shops?ids={ids}`, maxIds: 100, items: '/data', id: '/id' },
          limits: { concurrency: 8, perSecond: 200 },
        },
      },
    },
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
