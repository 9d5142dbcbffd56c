import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import {
  blockDevices,
  blockRates,
  nvmeNamespaces,
  parseBlockStat,
  readBlockCounters,
} from '../../../daemon/kernel/block-devices.ts';
import { createGroup, moveProcess, removeGroup } from '../../../daemon/kernel/cgroups.ts';
import {
  parseAmount,
  parseCounters,
  readGroupMemory,
  statFields,
} from '../../../daemon/kernel/group-memory.ts';
import { parseMeminfo, readMeminfo } from '../../../daemon/kernel/meminfo.ts';
import { pageGenerations } from '../../../daemon/kernel/page-generations.ts';
import { parsePressure, readPressure } from '../../../daemon/kernel/pressure.ts';
import { memoryHierarchy, memoryNeeds } from '../../support/memory-group.ts';
import { partner } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

test('a pressure file is read', (t) => {
  const text =
    'some avg10=1.50 avg60=0.20 avg300=0.00 total=1699456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1053054\n';
  t.deepEqual(parsePressure(text), {
    some: { avg10: 1.5, avg60: 0.2, avg300: 0, totalUs: 1_699_456 },
    full: { avg10: 0, avg60: 0, avg300: 0, totalUs: 1_053_054 },
  });
  t.deepEqual(Object.keys(parsePressure(text.split('\n')[0]!)!), ['some']);
  t.is(parsePressure('full avg10=0.00 avg60=0.00 avg300=0.00 total=1'), undefined);
});

test('memory of the machine is read, and a text without its fields is none', (t) => {
  const text =
    'MemTotal:  100 kB\nMemFree:   50 kB\nMemAvailable:  70 kB\nSwapTotal:   0 kB\nSwapFree:   0 kB\nHugePages_Total:   0\n';
  t.deepEqual(parseMeminfo(text), {
    totalBytes: 102_400,
    freeBytes: 51_200,
    availableBytes: 71_680,
    swapTotalBytes: 0,
    swapFreeBytes: 0,
  });
  t.is(parseMeminfo('MemTotal:  100 kB\n'), undefined);
});

test('whether the kernel keeps pages by generations is read from its main switch', (t) => {
  const file = `${temporaryFolder(t)}/enabled`;
  t.false(pageGenerations(file), 'a kernel without');
  for (const [text, on] of Object.entries({
    '0x0007': true,
    '0x0001': true,
    '0x0006': false,
    '0x0000': false,
  })) {
    writeFileSync(file, `${text}\n`);
    t.is(pageGenerations(file), on, text);
  }
});

test('counters of a cgroup are read by version', (t) => {
  t.is(parseAmount('max\n'), 'max');
  t.is(parseAmount('4096\n'), 4096);
  for (const text of ['', '-1', '12 13', 'Max', '1e9']) t.is(parseAmount(text), undefined, text);
  const two = parseCounters(
    'anon 10\nfile 20\nworkingset_refault_file 3\npgmajfault 4\nodd line here\n',
  );
  t.deepEqual(statFields(2, two), { anonBytes: 10, fileBytes: 20, refaults: 3, majorFaults: 4 });
  const one = parseCounters('rss 1\ntotal_rss 10\ntotal_cache 20\ntotal_swap 7\n');
  t.deepEqual(statFields(1, one), { anonBytes: 10, fileBytes: 20, swapBytes: 7 });
});

test('no text makes a parser throw or answer a number that is none', (t) => {
  const texts = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc
      .array(
        fc.constantFrom(
          'some ',
          'avg10=',
          '1',
          'max',
          '-',
          ' ',
          '\n',
          'total=',
          'anon ',
          '9'.repeat(30),
        ),
      )
      .map((all) => all.join('')),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const amount = parseAmount(text);
      const numbers = [
        ...(amount === 'max' || amount === undefined ? [] : [amount]),
        ...parseCounters(text).values(),
        ...Object.values(parseMeminfo(text) ?? {}),
        ...Object.values(parseBlockStat(text) ?? {}),
        ...Object.values(parsePressure(text)?.some ?? {}),
      ];
      return numbers.every((number) => Number.isFinite(number) && number >= 0);
    }),
  );
  t.pass();
});

test('a group of version 2 is read from its files, and one that goes meanwhile is none', (t) => {
  const folder = temporaryFolder(t);
  const group = join(folder, 'user.slice');
  mkdirSync(group);
  t.is(readGroupMemory(group, 2), undefined);
  writeFileSync(join(group, 'memory.current'), '8192\n');
  t.deepEqual(readGroupMemory(group, 2), { currentBytes: 8192 });
  writeFileSync(join(group, 'memory.stat'), 'anon 4096\nfile 4096\nshmem 0\n');
  writeFileSync(join(group, 'memory.swap.current'), '0\n');
  writeFileSync(join(group, 'memory.events'), 'low 0\nhigh 12\nmax 0\n');
  t.deepEqual(readGroupMemory(group, 2), {
    anonBytes: 4096,
    fileBytes: 4096,
    shmemBytes: 0,
    swapBytes: 0,
    highEvents: 12,
    currentBytes: 8192,
  });
  rmSync(group, { recursive: true });
  t.is(readGroupMemory(group, 2), undefined);
  t.is(readPressure(join(group, 'memory.pressure')), undefined);
});

test('rates come from differences; a counter that went backwards says nothing', (t) => {
  const before = parseBlockStat('10 0 100 50 0 0 0 0 0 40 0')!;
  const now = parseBlockStat('20 0 300 150 5 0 8 20 3 540 0')!;
  t.deepEqual(blockRates(before, now, 1000), {
    readBytesPerSecond: 200 * 512,
    writtenBytesPerSecond: 8 * 512,
    requestsPerSecond: 15,
    latencyMs: 8,
    inFlight: 3,
    busy: 0.5,
  });
  t.deepEqual(blockRates(now, before, 1000), {
    readBytesPerSecond: 0,
    writtenBytesPerSecond: 0,
    requestsPerSecond: 0,
    inFlight: 0,
    busy: 0,
  });
});

test('disks are those with something in them that are not made of others', (t) => {
  const root = temporaryFolder(t);
  for (const [name, size] of Object.entries({
    nvme0n1: 8,
    nvme0c0n1: 8,
    loop0: 8,
    sda: 16,
    sdb: 0,
  })) {
    mkdirSync(join(root, name));
    writeFileSync(join(root, name, 'size'), `${size}\n`);
    writeFileSync(join(root, name, 'stat'), '1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n');
  }
  t.deepEqual(blockDevices(root), [
    { name: 'nvme0n1', nvme: true, bytes: 4096 },
    { name: 'sda', nvme: false, bytes: 8192 },
  ]);
  t.is(readBlockCounters('nvme0n1', root)?.inFlight, 9);
  t.is(readBlockCounters('gone', root), undefined);
  t.deepEqual(blockDevices(join(root, 'none')), []);
});

test('namespaces of NVMe disks are told, with what the kernel knows of each', (t) => {
  const root = temporaryFolder(t);
  const files: Record<string, string> = {
    'nvme0n1/size': '1000',
    'nvme0n1/nsid': '1',
    'nvme0n1/device/model': 'Maker 980   ',
    'nvme0n1/queue/logical_block_size': '4096',
    'nvme1n2/size': '8',
    'nvme1n2/nsid': 'odd',
    'sda/size': '8',
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), `${text}\n`);
  }
  t.deepEqual(nvmeNamespaces(root), [
    {
      name: 'nvme0n1',
      controller: 'nvme0',
      model: 'Maker 980',
      nsid: 1,
      bytes: 512_000,
      blockBytes: 4096,
    },
    { name: 'nvme1n2', controller: 'nvme1', model: '', bytes: 4096, blockBytes: 512 },
  ]);
});

test('this machine is read', (t) => {
  const { totalBytes, availableBytes } = readMeminfo();
  t.true(availableBytes > 0 && availableBytes <= totalBytes);
  for (const { name } of blockDevices()) t.true(readBlockCounters(name)!.reads >= 0, name);
});

when(test, memoryNeeds)(
  'a group of this machine is read, and what runs in it is seen',
  async (t) => {
    const { at, version } = memoryHierarchy()!;
    const group = `${at}/persona-test-read-${process.pid}`;
    t.teardown(() => removeGroup(group));
    createGroup(group);
    t.true(readGroupMemory(group, version)!.currentBytes < 1 << 20);
    const held =
      'process.stdin.once("data", () => { globalThis.held = Buffer.alloc(20e6, 1); console.log("held"); });';
    const child = partner(t, process.execPath, '-e', held);
    await moveProcess(group, child.process.pid!);
    child.say('go');
    t.is(await child.line(), 'held');
    const read = readGroupMemory(group, version)!;
    t.true(read.currentBytes >= 16e6, `${read.currentBytes}`);
    t.true((read.anonBytes ?? 0) >= 16e6, `${read.anonBytes}`);
  },
);
