/**
 * A program that imports one module and tells what that did to the process, as JSON:
 *
 *     node test/support/import-probe.ts src/index.ts
 */
import { EventEmitter } from 'node:events';
import { registerHooks } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** What importing a module did. Everything but `packages` and `names` should be empty. */
export interface ImportReport {
  /** Names it exports. */
  readonly names: readonly string[];
  /** Packages of node_modules it loaded, itself or through others. */
  readonly packages: readonly string[];
  /** Timers, sockets and the like that are open and were not before. */
  readonly resources: readonly string[];
  /** Events of the process that have more listeners than before. */
  readonly listeners: readonly string[];
  /** Globals, and members of built-in prototypes and constructors, that are new or another than before. */
  readonly patched: readonly string[];
}

const watched: Readonly<Record<string, object>> = {
  globalThis,
  process,
  EventEmitter,
  ...Object.fromEntries(
    [Array, Date, Error, Function, JSON, Map, Math, Number, Object, Promise, Set, String].map((builtIn) => [
      'name' in builtIn ? builtIn.name : builtIn[Symbol.toStringTag],
      builtIn,
    ]),
  ),
};

function membersOf(owner: object): Map<PropertyKey, unknown> {
  const descriptors: [PropertyKey, PropertyDescriptor | undefined][] = Reflect.ownKeys(owner).map((name) => [
    name,
    Reflect.getOwnPropertyDescriptor(owner, name),
  ]);
  return new Map(
    descriptors.map(([name, found]) => [
      name,
      found !== undefined && 'value' in found ? found.value : found?.get,
    ]),
  );
}

function snapshot(): Map<string, unknown> {
  const all = new Map<string, unknown>();
  for (const [name, owner] of Object.entries(watched)) {
    const prototype = 'prototype' in owner ? owner.prototype : undefined;
    for (const [member, value] of membersOf(owner)) all.set(`${name}.${String(member)}`, value);
    if (typeof prototype !== 'object' || prototype === null) continue;
    for (const [member, value] of membersOf(prototype)) all.set(`${name}.prototype.${String(member)}`, value);
  }
  return all;
}

const countListeners = (): Map<string, number> =>
  new Map(process.eventNames().map((name) => [String(name), process.listenerCount(name)]));

if (process.argv[1] === import.meta.filename) {
  const packages = new Set<string>();
  registerHooks({
    resolve(specifier, context, next) {
      const found = next(specifier, context);
      const name = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(found.url)?.[1];
      if (name !== undefined) packages.add(name);
      return found;
    },
  });
  // Node loads its own fetch when it is first looked at, and keeps two globals for it.
  void globalThis.Request;
  const members = snapshot();
  const listeners = countListeners();
  const resources = process.getActiveResourcesInfo();
  const module: object = await import(pathToFileURL(resolve(process.argv[2] ?? '')).href);
  const left = [...process.getActiveResourcesInfo()];
  for (const resource of resources) left.splice(left.indexOf(resource), 1);
  const report: ImportReport = {
    names: Object.keys(module),
    packages: [...packages],
    resources: left,
    listeners: [...countListeners()].flatMap(([name, count]) =>
      count > (listeners.get(name) ?? 0) ? [name] : [],
    ),
    patched: [...snapshot()].flatMap(([name, value]) =>
      Object.is(members.get(name), value) && members.has(name) ? [] : [name],
    ),
  };
  process.stdout.write(JSON.stringify(report));
}
