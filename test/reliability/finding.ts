/** What an invariant found, before it is given its name and trail. */
export interface Finding {
  readonly what: string;
  readonly key?: string;
  readonly message?: string;
}
