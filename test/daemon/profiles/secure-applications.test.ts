import test, { type ExecutionContext } from 'ava';
import { callNumbers } from '../../../daemon/kernel/seccomp-calls.ts';
import { longScope, users } from '../../security/live-daemon.ts';
import { type ApartGround, apartGround, apartNeeds } from '../../support/apart.ts';
import { lacking, when } from '../../support/needs.ts';

// What the profile `secure` lets a program do, and what not, as an ordinary user.

const scope = longScope();
const me = users.owner;
const needing = (...tools: string[]) =>
  when(test, { ...apartNeeds, tools: [...apartNeeds.tools, ...tools] });
let ground: ApartGround;

test.before('a daemon, and the enclave of a user', async () => {
  if (lacking(apartNeeds) !== undefined) return;
  ground = await apartGround(scope);
  await ground.enclave('vault');
});
test.after.always(() => scope.end());

/** Runs a program apart, to its good end, and answers what it said. */
async function apart(t: ExecutionContext, ...command: string[]): Promise<string> {
  const words = ['--profile', 'secure', `app.${command[0]}`, '--', ...command];
  const { status, out, err } = await ground.run(me, words);
  t.is(status, 0, err);
  return out;
}

needing('git')('the network is not there', async (t) => {
  const words = ['clone', '-q', 'git://127.0.0.1:1/x', 'none'];
  const { status, err } = await ground.run(me, ['--profile', 'secure', 'x', '--', 'git', ...words]);
  t.not(status, 0);
  t.regex(err, /unable to connect|Cannot assign|refused|unreachable/);
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
