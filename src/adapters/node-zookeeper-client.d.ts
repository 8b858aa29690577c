/** The part of `node-zookeeper-client` (an optional dependency without types) that the broker discovery uses. */
declare module 'node-zookeeper-client' {
  export interface ZookeeperClient {
    connect(): void;
    close(): void;
    once(event: 'connected', listener: () => void): void;
    getChildren(path: string, done: (error: Error | null, children: string[]) => void): void;
    getData(path: string, done: (error: Error | null, data: Buffer | undefined) => void): void;
  }
  export type CreateClient = (
    connect: string,
    options: { sessionTimeout: number; spinDelay: number; retries: number },
  ) => ZookeeperClient;
  export const createClient: CreateClient;
}
