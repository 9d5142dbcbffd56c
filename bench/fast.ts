import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  copyFileSync,
  fsyncSync,
  mkdirSync,
  openSync,
  statSync,
  writeSync,
} from 'node:fs';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import {
  createGroup,
  moveProcess,
  readHierarchies,
  removeGroup,
} from '../daemon/kernel/cgroups.ts';
import { Fd } from '../daemon/kernel/fd.ts';
import { pinFiles } from '../daemon/kernel/file-pins.ts';
import { freezableIn, freezeFilesOf } from '../daemon/kernel/freezer.ts';
import { dropCached } from '../daemon/kernel/page-cache.ts';
import { nativeProgram } from '../daemon/kernel/program-files.ts';
import { sync } from '../daemon/writeback/sync.ts';
import { WriterChild } from '../daemon/writeback/writer-child.ts';
import { compileNative } from '../scripts/launcher.ts';
import { crashRound } from '../test/daemon/writeback/model-session.ts';
import { atLeast, atMost, type Bar } from './bar.ts';
import { type Ground, openGround } from './ground.ts';
import { median } from './statistics.ts';

/** One line for --list. */
export const summary =
  'work in a RAM partition beside the disk; cold starts with a pinned executable; write-back: crashes, time, and how long the program stands still';

/** Time is measured: the best of three. */
export const runs = 3;

const CRASHES = 10_000;
const MiB = 2 ** 20;
/** As many times as fast as the disk, or there is no gain. */
const GAIN = 10;
const OPEN_MS = 120_000;

/** Runs the bench; `quick` takes fewer samples and a smaller tree. */
export async function run({ quick }: { quick: boolean }): Promise<Bar[]> {
  const ground = await openGround('');
  try {
    const at = await partition(ground, quick ? 1 : 3);
    return [
      ...gains(ground.root, at, quick ? 5 : 15),
      ...(await coldStart(ground.root, quick ? 5 : 15)),
      ...crashes(),
      ...(await writeBack(ground, at, quick ? 200 : 1000)),
    ];
  } finally {
    await ground.reconnect();
    await ground.client.call('fast.rm', { name: 'bench', wait: true });
    await ground.stop();
  }
}

async function partition({ client, root }: Ground, gib: number): Promise<string> {
  const bytes = gib * 2 ** 30;
  await client.call('fast.create', { name: 'bench', bytes, on: 'ram', wait: true });
  return `${root}/run/fast/bench`;
}

/** Milliseconds of one commit of a row. */
function commitMs(folder: string, round: number): number {
  const database = new DatabaseSync(`${folder}/bench-${round}.db`);
  database.exec('PRAGMA synchronous = FULL; CREATE TABLE t (n INTEGER, text TEXT)');
  const insert = database.prepare('INSERT INTO t VALUES (?, ?)');
  const begun = performance.now();
  for (let n = 0; n < 50; n += 1) insert.run(n, 'a row of some length');
  const took = performance.now() - begun;
  database.close();
  return took / 50;
}

/** Milliseconds of one small file that is written and synced. */
function fileMs(folder: string, round: number): number {
  const bytes = Buffer.alloc(8192, round + 1);
  const begun = performance.now();
  for (let n = 0; n < 50; n += 1) {
    const file = openSync(`${folder}/bench-${round}-${n}`, 'w');
    writeSync(file, bytes);
    fsyncSync(file);
    closeSync(file);
  }
  return (performance.now() - begun) / 50;
}

/** The same work on the disk and in memory, in turn. */
function gains(root: string, at: string, rounds: number): Bar[] {
  const disk = `${root}/gain`;
  const memory = `${at}/gain`;
  for (const folder of [disk, memory]) mkdirSync(folder);
  const works = { 'SQLite commits': commitMs, 'small files with fsync': fileMs };
  return Object.entries(works).map(([name, work]) => {
    const times = { disk: [] as number[], memory: [] as number[] };
    for (let round = 0; round < rounds; round += 1) {
      times.disk.push(work(disk, round));
      times.memory.push(work(memory, round));
    }
    const ms = { disk: median(times.disk), memory: median(times.memory) };
    return atLeast(`${name} in RAM over the disk`, ms.disk / ms.memory, 'x', GAIN, rounds * 50, {
      'disk (ms each)': ms.disk,
      'RAM (ms each)': ms.memory,
    });
  });
}

/** Starts of a program that is in memory no more, and of the same while it is kept there, in turn. */
async function coldStart(root: string, rounds: number): Promise<Bar[]> {
  const program = `${root}/program`;
  copyFileSync(process.execPath, program);
  compileNative('file-pins', nativeProgram('file-pins'));
  const file = new Fd(openSync(program, 'r'), program);
  const times = { cold: [] as number[], pinned: [] as number[] };
  const start = async (into: number[]): Promise<void> => {
    await dropCached(file.number);
    const begun = performance.now();
    execFileSync(program, ['-e', '0']);
    into.push(performance.now() - begun);
  };
  try {
    fsyncSync(file.number);
    const bytes = statSync(program).size;
    for (let round = 0; round < rounds; round += 1) {
      await start(times.cold);
      const pins = await pinFiles([file], { bytesMax: bytes, place: async () => true });
      await start(times.pinned);
      await pins.release();
    }
    const ms = { cold: median(times.cold), pinned: median(times.pinned) };
    return [
      atLeast('cold start over one with a pinned executable', ms.cold / ms.pinned, 'x', 1, rounds, {
        'cold (ms)': ms.cold,
        'pinned (ms)': ms.pinned,
        'MiB kept': bytes / MiB,
      }),
    ];
  } finally {
    file.close();
  }
}

/** Machines that stop in the middle of write-backs and of recoveries, on a disk that forgets what was not synced. */
function crashes(): Bar[] {
  const total = { crashes: 0, torn: 0, lost: 0 };
  for (let seed = 1; total.crashes < CRASHES; seed += 1) {
    const round = crashRound(seed);
    total.crashes += round.crashes;
    total.torn += round.torn;
    total.lost += round.lost;
  }
  return [
    atMost('torn folders after injected crashes', total.torn, '', 0, total.crashes),
    atMost('lost after commit in injected crashes', total.lost, '', 0, total.crashes),
  ];
}

/** A program with this many files of 64 KiB and a quarter as many of 256 KiB, that changes some, and goes on writing into one. */
const program = `const fs=require('fs');const [,at,all]=process.argv;
const size=n=>n%5===0?262144:65536;let round=0;
const write=n=>fs.writeFileSync(at+'/d'+n%50+'/f'+n,Buffer.alloc(size(n),round+1));
const log=fs.openSync(at+'/log','w');
setInterval(()=>fs.writeSync(log,'one line of a log that is written all the time\\n'),1);
require('readline').createInterface({input:process.stdin}).on('line',()=>{
 round++;for(let n=round;n<all;n+=97)write(n);console.log('changed')});
console.log('begun')`;

/** Time of a write-back of a large folder of which one file in a hundred was changed. */
async function writeBack({ root }: Ground, at: string, mebibytes: number): Promise<Bar[]> {
  // 4 x 64 KiB + 256 KiB in every five.
  const all = Math.round((mebibytes * 5) / 0.5);
  const hierarchy = freezableIn(readHierarchies());
  if (hierarchy === undefined) throw new Error('no hierarchy of control groups can stop programs');
  const group = `${hierarchy.at}/personad-bench-${process.pid}`;
  const [home, memory] = [`${root}/home`, `${at}/0/data`];
  for (const folder of [home, `${home}/app`]) mkdirSync(folder);
  fill(`${home}/app`, all);
  createGroup(group);
  const writer = await WriterChild.start({
    caller: { uid: 0, gid: 0, groups: [] },
    home,
    folders: [{ path: 'app' }],
    frozenMsMax: 200,
  });
  try {
    await writer.mayStop([freezeFilesOf(hierarchy.version, group)]);
    await writer.ask({ do: 'open', memory: at, fill: true }, 'opened', OPEN_MS);
    const child = spawn(process.execPath, ['-e', program, memory, String(all)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const ended = once(child, 'exit');
    try {
      await lines.next();
      await moveProcess(group, child.pid ?? -1);
      return await rounds(writer, async () => {
        child.stdin.write('\n');
        await lines.next();
      });
    } finally {
      child.kill('SIGKILL');
      await ended;
    }
  } finally {
    await writer.end();
    removeGroup(group);
  }
}

function fill(folder: string, all: number): void {
  for (let n = 0; n < 50; n += 1) mkdirSync(`${folder}/d${n}`);
  for (let n = 0; n < all; n += 1) {
    const file = openSync(`${folder}/d${n % 50}/f${n}`, 'w');
    writeSync(file, Buffer.alloc(n % 5 === 0 ? 256 * 1024 : 64 * 1024));
    closeSync(file);
  }
}

const COUNT = 7;

async function rounds(writer: WriterChild, change: () => Promise<void>): Promise<Bar[]> {
  const mapped = async () => new Set<string>();
  const running = async () => ({ populated: true, freezable: true, mapped });
  const took: number[] = [];
  const frozen: number[] = [];
  let bytes = 0;
  for (let round = 0; round < COUNT; round += 1) {
    await change();
    const begun = performance.now();
    const synced = await sync(writer, running, Date.now);
    took.push((performance.now() - begun) / 1000);
    frozen.push(synced.frozenMs);
    bytes = synced.bytes;
  }
  const peer = { 'MiB changed': bytes / MiB, slowest: Math.max(...took) };
  return [
    atMost('write-back of a folder of 1 GB, 1 % changed', median(took), 's', 1.5, COUNT, peer),
    atMost('the program stands still in it', median(frozen), 'ms', 50, COUNT, {
      longest: Math.max(...frozen),
    }),
  ];
}
