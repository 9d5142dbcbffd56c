import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { errnoName, failedWith, KernelError } from '../../../daemon/kernel/errno.ts';
import { Fd, openFds } from '../../../daemon/kernel/fd.ts';
import { callsInFlight, declare, declareInt, declareSyscall } from '../../../daemon/kernel/libc.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const open = declareInt('open', ['text', 'int']);
const close = declareInt('close', ['int']);
const pread = declareInt('pread', ['int', 'bytes', 'u64', 'i64']);
const pipe2 = declareInt('pipe2', ['bytes', 'int']);
const read = declare('read', ['int', 'bytes', 'u64']);
const getpid = declareSyscall('getpid', process.arch === 'arm64' ? 172 : 39, []);

/** Rounds of the churn proof: SECURITY 30. */
const ROUNDS = 100_000;

test('errno has its name, and aliases one name', (t) => {
  t.is(errnoName(2), 'ENOENT');
  t.is(errnoName(11), 'EAGAIN');
  t.is(errnoName(15), 'ENOTBLK');
  t.is(errnoName(95), 'EOPNOTSUPP');
  t.is(errnoName(117), 'EUCLEAN');
  t.is(errnoName(9999), 'E#9999');
});

test('a failing call throws with call and errno', (t) => {
  const error = t.throws(() => close(-1), { instanceOf: KernelError });
  t.is(error.code, 'EBADF');
  t.is(error.syscall, 'close');
  t.true(failedWith(error, 'EBADF'));
});

test('a system call by number', (t) => t.is(getpid(), process.pid));

test.serial('calls in the pool keep their own errno, whatever fails beside them', async (t) => {
  const jobs = Array.from({ length: 300 }, (_, i) => {
    if (i % 3 === 0) return open.later('/does/not/exist', 0).catch((e: KernelError) => e.code);
    if (i % 3 === 1) return close.later(-1).catch((e: KernelError) => e.code);
    return open.later('/proc/self/status/x', 0).catch((e: KernelError) => e.code);
  });
  const seen = await Promise.all(jobs);
  for (const [i, code] of seen.entries())
    t.is(String(code), ['ENOENT', 'EBADF', 'ENOTDIR'][i % 3] ?? '');
  t.is(callsInFlight(), 0);
});

test.serial(
  'what may be done twice is done twice after EAGAIN, and tells it when it stays',
  async (t) => {
    // A pipe that is empty answers EAGAIN until something is in it.
    const ends = Buffer.alloc(8);
    pipe2(ends, constants.O_NONBLOCK);
    const [from, into] = [ends.readInt32LE(0), ends.readInt32LE(4)];
    const bytes = Buffer.alloc(1);
    await t.throwsAsync(read.later(from, bytes, 1), { code: 'EAGAIN' });
    await t.throwsAsync(read.laterSurely(from, bytes, 1), { code: 'EAGAIN' });
    await t.throwsAsync(read.laterSurely(-1, bytes, 1), { code: 'EBADF' });
    const meant = read.laterSurely(from, bytes, 1);
    writeSync(into, 'x');
    t.is(await meant, 1);
    t.is(bytes.toString(), 'x');
    for (const end of [from, into]) closeSync(end);
    t.is(callsInFlight(), 0);
  },
);

test.serial('an Fd closes once, and says what it was', (t) => {
  const before = openFds();
  const fd = new Fd(openSync('/', 'r'), 'the root');
  t.is(openFds(), before + 1);
  fd.close();
  fd.close();
  t.is(openFds(), before);
  t.throws(() => fd.number, { message: /the root is closed/ });
});

test.serial(
  'forced collection, descriptor churn and failing calls in the pool never mix up',
  async (t) => {
    const before = openFds();
    let failures = 0;
    for (let round = 0; round < ROUNDS; ) {
      const batch: Promise<unknown>[] = [];
      for (let i = 0; i < 500; i += 1, round += 1) {
        if (i % 50 === 0) {
          const fd = new Fd(openSync('/etc/passwd', 'r'), 'passwd');
          const target = Buffer.alloc(4);
          batch.push(
            pread.later(fd.number, target, 4, 0).then(async (length) => {
              if (length !== 4 || target.toString() !== 'root') failures += 1;
              await fd.closeLater();
            }),
          );
        } else if (i % 50 === 1) closeSync(openSync('/dev/null', 'r'));
        else if (i % 50 === 2) {
          batch.push(
            open.later(`/none/${round}`, 0).then(
              () => {
                failures += 1;
              },
              (error: KernelError) => {
                if (error.code !== 'ENOENT') failures += 1;
              },
            ),
          );
        } else if (getpid() !== process.pid) failures += 1;
      }
      if (round % 5_000 === 0) collect();
      await Promise.all(batch);
    }
    t.is(failures, 0);
    t.is(openFds(), before);
    t.is(callsInFlight(), 0);
  },
);
