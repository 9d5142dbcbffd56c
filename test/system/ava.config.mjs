/**
 * The tests that need a virtual machine, one after the other: two emulated guests make each other late.
 * PERSONAD_SYSTEM=short leaves out the files named `*.long.system.test.ts`; tests may shorten themselves by it too.
 */
const short = process.env.PERSONAD_SYSTEM === 'short';

const config = {
  files: ['test/system/*.system.test.ts', ...(short ? ['!test/system/*.long.system.test.ts'] : [])],
  extensions: ['ts'],
  workerThreads: false,
  nodeArguments: ['--no-warnings'],
  concurrency: 1,
  serial: true,
  timeout: '20m',
};

// biome-ignore lint/style/noDefaultExport: the test runner reads its settings from there
export default config;
