import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { inspect } from 'node:util';
import test from 'ava';
import {
  addressOfLocked,
  LockedBytes,
  lockedBytesMax,
  lockedMemoryProblem,
  lockedPlacesInUse,
} from '../../../daemon/kernel/locked-memory.ts';

/** What the kernel says is at an address of this process. */
function memoryAt(address: bigint, length: number): Buffer {
  const memory = openSync('/proc/self/mem', 'r');
  try {
    const bytes = Buffer.alloc(length);
    readSync(memory, bytes, 0, length, address);
    return bytes;
  } finally {
    closeSync(memory);
  }
}

/** The flags of the mapping that holds an address. */
function flagsAt(address: bigint): string[] {
  let inside = false;
  for (const line of readFileSync('/proc/self/smaps', 'latin1').split('\n')) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (range) inside = BigInt(`0x${range[1]}`) <= address && address < BigInt(`0x${range[2]}`);
    if (inside && line.startsWith('VmFlags:')) return line.split(/\s+/).slice(1);
  }
  return [];
}

test.serial('wiped bytes are zeros where they were, and their place is used again', (t) => {
  const before = lockedPlacesInUse();
  const bytes = new LockedBytes(6);
  bytes.bytes().write('canary');
  const address = addressOfLocked(bytes);
  t.is(memoryAt(address, 6).toString(), 'canary');
  t.is(lockedPlacesInUse(), before + 1);
  bytes.wipe();
  bytes.wipe();
  t.deepEqual(memoryAt(address, 6), Buffer.alloc(6));
  t.true(bytes.wiped);
  t.is(lockedPlacesInUse(), before);
  t.throws(() => bytes.bytes(), { message: /wiped/ });
});

test.serial('they are locked, not dumped, and not copied into children', (t) => {
  using bytes = new LockedBytes(1);
  const flags = flagsAt(addressOfLocked(bytes));
  t.is(lockedMemoryProblem(), undefined);
  // lo: locked, dd: left out of core dumps, wf: zeros in a child.
  for (const flag of ['lo', 'dd', 'wf']) t.true(flags.includes(flag), flag);
});

test.serial('no way of printing or writing shows them', (t) => {
  using bytes = new LockedBytes(6);
  bytes.bytes().write('canary');
  t.throws(() => JSON.stringify({ bytes }), { message: /cannot be written down/ });
  for (const shown of [`${bytes}`, inspect({ deep: { bytes } })]) {
    t.false(shown.includes('canary'));
    t.false(shown.includes(Buffer.from('canary').toString('hex')));
  }
});

test.serial('there is an end to the places, and to the size of one', (t) => {
  t.throws(() => new LockedBytes(lockedBytesMax + 1), { instanceOf: RangeError });
  const taken: LockedBytes[] = [];
  t.throws(
    () => {
      for (;;) taken.push(new LockedBytes(1));
    },
    { code: 'ENOMEM' },
  );
  for (const one of taken) one.wipe();
  t.true(taken.length > 32);
  t.is(lockedPlacesInUse(), 0);
});
