import test from 'ava';
import { type Claim, checkCount, checkMemory } from '../../../daemon/fast/quota.ts';

const GiB = 2 ** 30;
const memory = { spareBytes: 6 * GiB, userShareBytes: 8 * GiB };
const percent = { allPercent: 50, ownerPercent: 25 };
const claim = (account: number, bytes: number, memoryBytes = bytes): Claim => ({
  account,
  bytes,
  memoryBytes,
});

test('a user has a quarter of the user side, and not a byte more', (t) => {
  const mine = [claim(1000, GiB)];
  t.notThrows(() => checkMemory(claim(1000, GiB), mine, 0, memory, percent));
  t.throws(() => checkMemory(claim(1000, GiB + 1), mine, 0, memory, percent), {
    code: 'limit-exceeded',
    message: /your fast partitions together is over the limit of 2 GiB/,
  });
});

test('users together have half of it; what root has does not count against them', (t) => {
  const others = [claim(1, 2 * GiB), claim(2, GiB), claim(0, GiB)];
  t.notThrows(() => checkMemory(claim(3, GiB), others, 0, memory, percent));
  t.throws(() => checkMemory(claim(3, GiB + 1), others, 0, memory, percent), {
    message: /of users together is over the limit of 4 GiB/,
  });
});

test('root is bound by what both sides must keep alone', (t) => {
  t.notThrows(() => checkMemory(claim(0, 6 * GiB), [], 0, memory, percent));
  t.throws(() => checkMemory(claim(0, 6 * GiB + 1), [], 0, memory, percent), { code: 'no-memory' });
});

test('what others were promised and do not hold yet is not free', (t) => {
  t.throws(() => checkMemory(claim(0, 2 * GiB), [], 5 * GiB, memory, percent), {
    code: 'no-memory',
    message: /2 GiB of memory aside: 1 GiB can be spared/,
  });
  t.throws(() => checkMemory(claim(0, 4096), [], 7 * GiB, memory, percent), { message: /0 B can/ });
});

test('places are limited for each user, and some are kept for root', (t) => {
  const many = (account: number, count: number) =>
    Array.from({ length: count }, () => claim(account, 1));
  t.notThrows(() => checkCount(claim(1, 1), many(1, 15)));
  t.throws(() => checkCount(claim(1, 1), many(1, 16)), { code: 'limit-exceeded' });
  const full = [1, 2, 3].flatMap((account) => many(account, 16));
  t.throws(() => checkCount(claim(4, 1), full), { code: 'limit-exceeded' });
  t.notThrows(() => checkCount(claim(0, 1), [...full, ...many(0, 15)]));
  t.throws(() => checkCount(claim(0, 1), [...full, ...many(0, 16)]), { code: 'limit-exceeded' });
});

test('what counts half for a user is held against the sides in full', (t) => {
  t.notThrows(() => checkMemory(claim(1, GiB, 2 * GiB), [], 4 * GiB, memory, percent));
  t.throws(() => checkMemory(claim(1, GiB, 2 * GiB + 1), [], 4 * GiB, memory, percent), {
    code: 'no-memory',
  });
});
