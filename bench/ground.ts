import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { type Client, connect, socketPaths } from '../ipc/client.ts';

const execute = promisify(execFile);
const project = `${import.meta.dirname}/..`;
/** A start that takes longer has failed. */
const START_MS = 15_000;

/** A daemon of the bench's own, from the bundles that users run, on a private state tree on the disk. */
export interface Ground {
  /** Folder of everything the bench makes; gone after `stop`. */
  root: string;
  /** Folder of the bundles. */
  dist: string;
  daemon: ChildProcess;
  client: Client;
  /** Runs the tool with `--json` and returns what it printed. */
  tool(...args: string[]): Promise<unknown>;
  /** Connects anew: the daemon cuts off who says nothing for a minute. */
  reconnect(): Promise<void>;
  /** Path of the tree that a slot shows. */
  tree(slot: string): string;
  stop(): Promise<void>;
}

/** Builds the bundles and starts the daemon, with these settings. */
export async function openGround(settings = ''): Promise<Ground> {
  execFileSync(process.execPath, [`${project}/scripts/build.ts`], { stdio: 'ignore' });
  // Not the temporary folder: it is often in memory, and what is measured here is a disk.
  const root = mkdtempSync('/var/tmp/personad-bench-');
  mkdirSync(`${root}/etc`);
  writeFileSync(`${root}/etc/persona.toml`, settings);
  const log = openSync(`${root}/daemon.log`, 'a');
  const environment = { ...process.env, PERSONA_ROOT: root };
  const daemon = spawn(process.execPath, [`${project}/dist/personad.mjs`], {
    env: environment,
    stdio: ['ignore', log, log],
  });
  const ground: Ground = {
    root,
    dist: `${project}/dist`,
    daemon,
    client: await reached(daemon, root),
    async reconnect() {
      ground.client.close();
      ground.client = await reached(daemon, root);
    },
    tree: (slot) => `${root}/run/slots/${slot}/root`,
    async tool(...args) {
      const words = [`${project}/dist/personactl.cjs`, ...args, '--json'];
      const options = { env: environment, maxBuffer: 1 << 26, timeout: 900_000 };
      const { stdout } = await execute(process.execPath, words, options);
      return stdout.trim() === '' ? undefined : JSON.parse(stdout);
    },
    async stop() {
      await ground.reconnect();
      for (const { name } of (await ground.client.call('slot.list', {})).slots) {
        await ground.client.call('slot.rm', {
          slot: name,
          discard: true,
          busy: 'kill',
          wait: true,
        });
      }
      ground.client.close();
      const ended = once(daemon, 'exit');
      daemon.kill('SIGTERM');
      await ended;
      // The place of enclaves stays mounted without a daemon; where there was none, this fails.
      spawnSync('umount', [`${root}/run/enclaves`], { stdio: 'ignore' });
      rmSync(root, { recursive: true, force: true });
    },
  };
  return ground;
}

async function reached(daemon: ChildProcess, root: string): Promise<Client> {
  const deadline = Date.now() + START_MS;
  for (;;) {
    try {
      const client = await connect(socketPaths(`${root}/run`));
      await client.call('daemon.ping', {});
      return client;
    } catch (error) {
      if (Date.now() > deadline || daemon.exitCode !== null) {
        throw new Error(`the daemon does not answer; see ${root}/daemon.log`, { cause: error });
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
