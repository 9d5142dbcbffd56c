/**
 * Compiles the tool: runs it once against a daemon that only knows one answer, and keeps the code that
 * V8 made of the parts that a start needs. Called by the build, in a process of its own, in the folder
 * of the program:
 *
 *   node scripts/tool-code.ts NAME
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';
import type { Answer } from '../ipc/methods/index.ts';
import { delimiter } from '../ipc/protocol.ts';

// Functions remember that they went through the second compiler, and which ones do is a matter of timing. The flag is back
// before the code is written: V8 takes no code that was made with others than its own.
setFlagsFromString('--no-sparkplug');

const file = process.argv[2] ?? '';
const folder = mkdtempSync(join(tmpdir(), 'personactl-code-'));

const status: Answer<'daemon.status'> = {
  apiVersion: 1,
  daemon: { version: '0', pid: 1, startedMs: 0, state: 'ready', stateFolder: '/' },
  machine: { hostName: 'build', kernel: '6' },
  caller: { uid: 0, access: 'root' },
  slots: [
    {
      name: 'slot',
      owner: { uid: 0 },
      ephemeral: false,
      path: '/',
      state: 'active',
      createdMs: 0,
      active: {
        number: 1,
        base: { digest: 'sha256:' },
        state: 'good',
        reason: 'swap',
        startedMs: 0,
        upper: { id: 'u', state: 'active' },
      },
      processes: [{ pid: 1, uid: 0, command: 'sh' }],
      draining: [],
      generations: 1,
    },
  ],
  changes: [],
  space: { path: '/', fileSystem: 'ext4', totalBytes: 2, freeBytes: 1, reserveBytes: 0 },
  counts: { bases: 1, personas: 1, slots: 1 },
  fallbacks: [{ capability: 'one', using: 'another', reason: 'none' }],
  notices: [],
};

mkdirSync(join(folder, 'run'));
const server = createServer((socket) => {
  const data = { id: 1, result: status };
  socket.once('data', () => socket.end(JSON.stringify({ type: 'reply', data }) + delimiter));
});
server.listen(join(folder, 'run/control.sock'), () => {
  process.env.PERSONA_ROOT = folder;
  process.argv = [process.execPath, file, 'status'];
  const program = new Script(readFileSync(file, 'utf8'), { filename: file });
  process.on('exit', () => {
    setFlagsFromString('--sparkplug');
    writeFileSync(`${file}.code`, program.createCachedData());
    rmSync(folder, { recursive: true, force: true });
  });
  // The tool asks for modules of Node only. A path of this machine would become part of the code.
  program.runInThisContext()(createRequire('/usr/lib/personad/dist/personactl.js'));
});
