/**
 * Before every npm script that runs our TypeScript: says in one sentence what is missing, where an older Node would
 * stop at the first `.ts` file with a stack trace.
 */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(
    `This needs Node 22.19 or newer and found ${process.versions.node}: on Linux (x64, arm64) \`npm ci\` brings Node 24 ` +
      `into the checkout; elsewhere put a newer Node first on your PATH.\n`,
  );
  process.exitCode = 2;
}
