import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { landlockVersion } from '../../daemon/kernel/landlock.ts';
import { compileNative } from '../../scripts/launcher.ts';
import { users } from '../security/live-daemon.ts';
import { when } from '../support/needs.ts';
import { temporaryFolder } from '../support/temp.ts';

// The program that lets the kernel confine it, by itself: what it is not granted it cannot do, where nothing else keeps it from that.

const from = (version: number) => ({
  root: true,
  tools: ['cc', 'setpriv', 'python3'],
  other: () => (landlockVersion() < version ? `needs Landlock, version ${version}` : undefined),
});
/** With truncation, which the oldest versions do not keep anybody from. */
const confined = when(test, from(3));
const me = users.user;

/** The program, a folder that is granted to be written, one to be read, and one that is not granted. */
function ground(t: ExecutionContext) {
  const root = temporaryFolder(t);
  chmodSync(root, 0o755);
  const program = join(root, 'persona-confine');
  compileNative('persona-confine', program);
  const [own, shown, other] = ['own', 'shown', 'other'].map((name) => {
    const folder = join(root, name);
    mkdirSync(join(folder, 'below'), { recursive: true });
    writeFileSync(join(folder, 'file'), `${name}\n`);
    for (const path of [folder, join(folder, 'below'), join(folder, 'file')])
      chownSync(path, me, me);
    return folder;
  }) as [string, string, string];
  const grants = ['--see', '/', '--use', '/dev', '--use', '/proc', '--read', '/usr'];
  const beside = ['/bin', '/lib', '/lib64', '/etc'].flatMap((path) => ['--read', path]);
  const words = [...grants, ...beside, '--read', shown, '--write', own, '--read', `${root}/absent`];
  const run = (
    command: readonly string[],
    { more = words, privileges = ['--no-new-privs'], stdout = 'pipe' as 'pipe' | number } = {},
  ) => {
    const as = ['--reuid', `${me}`, '--regid', `${me}`, '--clear-groups', ...privileges, '--'];
    const {
      status,
      stdout: out,
      stderr,
    } = spawnSync('setpriv', [...as, program, ...more, '--', ...command], {
      cwd: '/',
      encoding: 'utf8',
      stdio: ['ignore', stdout, 'pipe'],
    });
    return { status, out, err: stderr };
  };
  const sh = (script: string, options = {}) => run(['sh', '-c', script], options);
  return { own, shown, other, run, sh, words };
}

confined('what is granted can be done, and nothing else', (t) => {
  const { own, shown, other, sh } = ground(t);
  const can = (script: string) => t.is(sh(script).status, 0, script);
  const cannot = (script: string) =>
    t.regex(sh(script).err, /denied|permitted|cross-device/i, script);
  can(`cat ${shown}/file && cat ${own}/file && ls ${other}`);
  can(
    `echo more >> ${own}/file && mv ${own}/file ${own}/below/ && ln -s x ${own}/link && mkfifo ${own}/pipe`,
  );
  can(`cp /usr/bin/true ${own}/program && ${own}/program && rm -r ${own}/below`);
  cannot(`cat ${other}/file`);
  cannot(`echo x > ${shown}/file`);
  cannot(`echo x > ${shown}/new`);
  cannot(`rm ${shown}/file`);
  cannot(`ln ${shown}/file ${own}/taken`);
  cannot(`mv ${shown}/file ${own}/taken`);
  cannot('touch /dev/new');
  cannot(`cp /usr/bin/true /var/tmp/personad-test-never`);
  t.is(readFileSync(join(shown, 'file'), 'utf8'), 'shown\n');
  t.false(existsSync('/var/tmp/personad-test-never'));
});

confined('its streams keep their names', (t) => {
  const { other, sh } = ground(t);
  const stdout = openSync(join(other, 'file'), 'a');
  const script = 'echo to the file > /dev/stdout; { echo by a pipe > /dev/stderr; } 2>&1 | cat';
  const { status, err } = sh(script, { stdout });
  closeSync(stdout);
  t.deepEqual([status, err], [0, '']);
  t.is(readFileSync(join(other, 'file'), 'utf8'), 'to the file\nby a pipe\n');
  const read = openSync(join(other, 'file'), 'r');
  // Only in the way in which they are open.
  t.regex(sh('echo x > /proc/self/fd/1', { stdout: read }).err, /denied/i);
  closeSync(read);
});

when(test, from(6))('no signal and no abstract socket reaches another program', async (t) => {
  const { run } = ground(t);
  const name = `personad-test-${process.pid}`;
  const server = createServer().listen(`\0${name}`);
  await once(server, 'listening');
  t.teardown(() => server.close());
  const script = `
import os, socket, sys
def reach(name): socket.socket(socket.AF_UNIX).connect("\\0" + name)
mine = socket.socket(socket.AF_UNIX); mine.bind("\\0" + sys.argv[1] + "-mine"); mine.listen()
for attempt in (lambda: reach(sys.argv[1] + "-mine"), lambda: os.kill(os.getpid(), 0), lambda: reach(sys.argv[1]), lambda: os.kill(os.getppid(), 0)):
    try: attempt(); print("reached")
    except PermissionError: print("refused")
`;
  const { out, err } = run(['python3', '-c', script, name]);
  t.is(out, 'reached\nreached\nrefused\nrefused\n', err);
});

confined('what it does not understand, or cannot have, starts nothing', (t) => {
  const { run, words } = ground(t);
  const echo = ['echo', 'on'];
  const refused = (options: Parameters<typeof run>[1], command = echo) => {
    const { status, out, err } = run(command, options);
    t.deepEqual([status, out], [125, ''], err);
    t.regex(err, /^persona-confine: /);
  };
  t.is(run(echo).out, 'on\n');
  refused({ privileges: [] });
  refused({ more: ['--grant', '/'] });
  refused({ more: [...words, '--read'] });
  refused({ more: ['--read', '/etc/shadow/x'] });
  refused({}, []);
  t.is(run(['/usr/bin/personad-test-nothing']).status, 127);
});
