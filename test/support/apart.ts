import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nativeProgram } from '../../daemon/kernel/program-files.ts';
import { compileLauncher, compileNative } from '../../scripts/launcher.ts';
import { answered, type Launched } from '../ctl/launch-plans.ts';
import {
  asUser,
  type Given,
  group,
  type LiveDaemon,
  privateTree,
  type Scope,
  startLive,
  users,
} from '../security/live-daemon.ts';
import { fscryptNeeds } from './fscrypt.ts';

/** What tests of applications that are kept apart need from the machine. */
export const apartNeeds = { ...fscryptNeeds, tools: ['mkfs.ext4', 'bwrap', 'setpriv', 'cc'] };

const MiB = 1024 ** 2;
const passphrase = Buffer.from('a passphrase').toString('base64');

/** A daemon, its launcher, and a user who may have enclaves. */
export interface ApartGround {
  daemon: LiveDaemon;
  launcher: string;
  /** Makes and opens an enclave of this user, and answers where it is. */
  enclave(name: string, uid?: number, open?: boolean, bytes?: number): Promise<string>;
  /** What the daemon gives a user. */
  ask(uid: number, ...asked: Parameters<typeof asUser>[3][number]): Promise<Given>;
  /** Starts the launcher as a user, again where it was not answered in time, and waits for its end. */
  run(uid: number, words: readonly string[], env?: Record<string, string>): Promise<Launched>;
}

/** Words that start a program as a user who has no other rights. */
export const becoming = (uid: number): string[] => [
  'setpriv',
  ...['--reuid', String(uid), '--regid', String(uid), '--clear-groups', '--'],
];

/** The daemon of a checkout finds it where `npm run build` puts it. */
function compileConfiner(): void {
  const into = nativeProgram('persona-confine');
  const source = join(import.meta.dirname, '../../ctl/native/persona-confine.c');
  const built = statSync(into, { throwIfNoEntry: false });
  if (built === undefined || built.mtimeMs < statSync(source).mtimeMs)
    compileNative('persona-confine', into);
}

/** Opens it; it ends with its scope. */
export async function apartGround(scope: Scope, root = privateTree(scope)): Promise<ApartGround> {
  const folder = mkdtempSync(join(tmpdir(), 'personad-test-'));
  scope.teardown(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  const launcher = join(folder, 'persona-run');
  compileLauncher(launcher);
  compileConfiner();
  const daemon = await startLive(scope, root);
  const ask: ApartGround['ask'] = async (uid, ...asked) => {
    const [given] = await asUser(uid, [group.gid], daemon.run, [asked]);
    return given ?? {};
  };
  return {
    daemon,
    launcher,
    ask,
    async enclave(name, uid = users.owner, open = true, bytes = 16 * MiB) {
      const shape = { name, bytes, key: 'passphrase', secret: 'TICKET', wait: true };
      const given = [await ask(uid, 'enclave.create', shape, passphrase)];
      const opened = { enclave: name, secret: 'TICKET', wait: true };
      if (open) given.push(await ask(uid, 'enclave.open', opened, passphrase));
      const failed = given.find(({ error }) => error !== undefined);
      if (failed !== undefined) throw new Error(JSON.stringify(failed));
      return join(daemon.run, 'enclaves', name);
    },
    run(uid, words, env = {}) {
      const [file = '', ...args] = [...becoming(uid), launcher, ...words];
      const PATH = '/usr/local/bin:/usr/bin:/bin';
      return answered(file, args, { PATH, PERSONA_ROOT: daemon.root, ...env });
    },
  };
}
