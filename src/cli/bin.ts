#!/usr/bin/env node
/** The command's first breath: says what is wrong with an old Node before anything modern is loaded. */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`cachewright needs Node 22.19 or newer; this is Node ${process.versions.node}.\n`);
  process.exitCode = 2;
} else {
  // What a start compiles is kept in the system's temporary folder for the next one: a third of a start is compiling.
  (await import('node:module')).enableCompileCache?.();
  const { main } = await import('./main.ts');
  const { leave } = await import('./output.ts');
  await main(process.argv);
  await leave();
}
