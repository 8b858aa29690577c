import { startHttpSource } from '../support/servers/http-source.ts';
import { type Proxy, startProxy } from '../support/servers/proxy.ts';
import type { Planned } from './load.ts';

/** The source of truth of the fetched service, behind a proxy that can be cut off. */
export interface Truth {
  /** Where the services ask. */
  readonly url: string;
  readonly proxy: Proxy;
  readonly source: Awaited<ReturnType<typeof startHttpSource>>;
  /** What a message announces is there from now on, unless the source lags. */
  take(planned: Planned): void;
  /** The source answers with what it knows now, whatever was announced since, until `catchUp`. */
  lag(): void;
  catchUp(): void;
  stop(): Promise<void>;
}

export async function startTruth(): Promise<Truth> {
  const source = await startHttpSource({ slowMs: 2_500 });
  const proxy = await startProxy(source.port);
  let isLagging = false;
  const late: Planned[] = [];
  const put = ({ truth }: Planned): void => {
    if (truth === undefined) return;
    if (truth.text === null) source.delete(truth.id);
    else source.putText(truth.id, truth.text);
  };
  return {
    url: `http://127.0.0.1:${proxy.port}`,
    proxy,
    source,
    take: (planned) => (isLagging ? void late.push(planned) : put(planned)),
    lag: () => void (isLagging = true),
    catchUp() {
      isLagging = false;
      for (const planned of late.splice(0)) put(planned);
    },
    async stop() {
      await proxy.stop();
      await source.stop();
    },
  };
}
