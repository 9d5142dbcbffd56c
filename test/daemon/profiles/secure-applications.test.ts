import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { callNumbers } from '../../../daemon/kernel/seccomp-calls.ts';
import { longScope, users } from '../../security/live-daemon.ts';
import { type ApartGround, apartGround, apartNeeds } from '../../support/apart.ts';
import { lacking, when } from '../../support/needs.ts';

// Programs from Debian packages as an ordinary user in the profile `secure`: they work, and what they make lies in the enclave.

const scope = longScope();
const me = users.owner;
const needing = (...tools: string[]) =>
  when(test, { ...apartNeeds, tools: [...apartNeeds.tools, ...tools] });
let ground: ApartGround;
let vault: string;

test.before('a daemon, and the enclave of a user', async () => {
  if (lacking(apartNeeds) !== undefined) return;
  ground = await apartGround(scope);
  vault = await ground.enclave('vault');
});
test.after.always(() => scope.end());

/** Runs a program apart, to its good end, and answers what it said. */
async function apart(t: ExecutionContext, ...command: string[]): Promise<string> {
  const words = ['--profile', 'secure', `app.${command[0]}`, '--', ...command];
  const { status, out, err } = await ground.run(me, words);
  t.is(status, 0, err);
  return out;
}

needing('sqlite3')('a database is made, written, and read again by the next run', async (t) => {
  const make = 'CREATE TABLE keys (name TEXT, value BLOB); INSERT INTO keys VALUES (1, 2), (3, 4);';
  await apart(t, 'sqlite3', 'keys.db', `PRAGMA journal_mode = WAL; ${make}`);
  t.is(await apart(t, 'sqlite3', '/home/user/keys.db', 'SELECT sum(value) FROM keys'), '6\n');
  t.is(readFileSync(join(vault, 'keys.db')).subarray(0, 15).toString(), 'SQLite format 3');
});

needing('git')('a repository is made and committed to; the network is not there', async (t) => {
  const by = ['-c', 'user.name=me', '-c', 'user.email=me@localhost'];
  await apart(t, 'git', 'init', '-q', 'work');
  writeFileSync(join(vault, 'work/file'), 'content\n', { mode: 0o644 });
  await apart(t, 'git', '-C', 'work', 'add', 'file');
  await apart(t, 'git', '-C', 'work', ...by, 'commit', '-q', '-m', 'first');
  t.regex(await apart(t, 'git', '-C', 'work', 'log', '--stat'), /first[\s\S]*file \| 1 \+/);
  await apart(t, 'git', '-C', 'work', 'gc', '-q');
  await apart(t, 'git', 'clone', '-q', 'work', 'copy');
  t.is(await apart(t, 'git', '-C', 'copy', 'fsck'), '');
  const words = ['clone', '-q', 'git://127.0.0.1:1/x', 'none'];
  const { status, err } = await ground.run(me, ['--profile', 'secure', 'x', '--', 'git', ...words]);
  t.not(status, 0);
  t.regex(err, /unable to connect|Cannot assign|refused|unreachable/);
});

needing('vim')('an editor edits, with its own files in the enclave', async (t) => {
  const edit = ['+call setline(1, "a line")', '+write! note.txt', '+quit!'];
  await apart(t, 'vim', '-N', '-u', 'NONE', '-es', ...edit);
  t.is(readFileSync(join(vault, 'note.txt'), 'utf8'), 'a line\n');
});

needing('python3')(
  'each call of the filter is refused, and none that applications need',
  async (t) => {
    const column = process.arch === 'x64' ? 0 : 1;
    const of = (wanted: (name: string) => boolean) =>
      Object.entries(callNumbers).flatMap(([name, numbers]) => {
        const number = numbers[column];
        return number === null || !wanted(name) ? [] : [[name, number]];
      });
    // By their arguments they make nothing, also where they are allowed.
    const harmless = ['socket', 'pidfd_open', 'kcmp', 'memfd_secret', 'shmget', 'mq_open'];
    const judged = ['clone', 'ioctl', 'shmat', 'semget', 'msgget', 'pidfd_send_signal'];
    const script = `
import ctypes, errno, json, sys
libc = ctypes.CDLL(None, use_errno=True)
def tried(number):
    ctypes.set_errno(0)
    libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6)
    return errno.errorcode.get(ctypes.get_errno(), "")
print(json.dumps({name: tried(number) for name, number in json.loads(sys.argv[1])}))
`;
    const open = [...harmless, ...judged, 'name_to_handle_at'];
    const ask = async (calls: unknown) =>
      JSON.parse(await apart(t, 'python3', '-c', script, JSON.stringify(calls)));
    const refused = await ask(of((name) => !open.includes(name)));
    t.true(Object.keys(refused).length > 40);
    for (const [name, said] of Object.entries(refused))
      t.is(said, name === 'clone3' ? 'ENOSYS' : 'EPERM', name);
    const allowed = await ask(of((name) => harmless.includes(name)));
    for (const [name, said] of Object.entries(allowed)) t.not(said, 'EPERM', name);
  },
);

needing('python3')('an interpreter with threads, children and sockets of its own', async (t) => {
  const script = `
import multiprocessing, os, socket, subprocess, tempfile, threading
ends = socket.socketpair()
threading.Thread(target=lambda: ends[0].send(b"by a thread")).start()
print(ends[1].recv(32).decode())
print(subprocess.run(["sh", "-c", "echo by a child"], capture_output=True, text=True).stdout, end="")
with multiprocessing.Pool(2) as pool: print(sum(pool.map(abs, [-1, -2])))
with tempfile.NamedTemporaryFile() as file: print(os.path.dirname(file.name))
server = socket.create_server(("127.0.0.1", 0)); socket.create_connection(server.getsockname()); print("loopback")
`;
  const out = await apart(t, 'python3', '-c', script);
  t.is(out, 'by a thread\nby a child\n3\n/tmp\nloopback\n');
});
