import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Side } from '../../../daemon/partitions/observation.ts';
import type { Places } from '../../../daemon/partitions/places.ts';
import { temporaryFolder } from '../../support/temp.ts';

const GiB = 2 ** 30;

/** What the tree says of one side. */
export interface SideFiles {
  currentBytes: number;
  anonBytes: number;
  refaults: number;
  waitedUs: number;
  /** For disks. */
  ioWaitedUs: number;
}

/** A machine as files: a pair of groups as cgroup version 2 shows them, and what /proc says. */
export interface CgroupTree {
  folder: string;
  places: Places;
  files: { meminfo: string; pressure: string };
  sides: Record<Side, SideFiles>;
  availableBytes: number;
  swapBytes: number;
  totalBytes: number;
  /** Writes all counters anew; knobs stay as they are. */
  show(): void;
  knob(side: Side, name: string): string;
  set(side: Side, name: string, value: string): void;
}

const pressureText = (us: number) =>
  ['some', 'full']
    .map((kind) => `${kind} avg10=0.00 avg60=0.00 avg300=0.00 total=${us}\n`)
    .join('');

/** A machine of 16 GiB whose sides use 4 GiB each. */
export function cgroupTree(t: ExecutionContext): CgroupTree {
  const folder = temporaryFolder(t);
  const root = join(folder, 'cgroup');
  const groups = { user: 'user.slice', system: 'system.slice' };
  const file = (side: Side, name: string) => join(root, groups[side], name);
  const one = () => ({
    currentBytes: 4 * GiB,
    anonBytes: GiB,
    refaults: 0,
    waitedUs: 0,
    ioWaitedUs: 0,
  });
  const tree: CgroupTree = {
    folder,
    places: {
      groups,
      memory: { root, version: 2 },
      pressureRoot: root,
      recursive: true,
      own: '/x',
    },
    files: { meminfo: join(folder, 'meminfo'), pressure: join(folder, 'pressure') },
    sides: { user: one(), system: one() },
    availableBytes: 10 * GiB,
    swapBytes: 4 * GiB,
    totalBytes: 16 * GiB,
    show() {
      for (const side of ['user', 'system'] as const) {
        const { currentBytes, anonBytes, refaults, waitedUs, ioWaitedUs } = tree.sides[side];
        mkdirSync(join(root, groups[side]), { recursive: true });
        writeFileSync(file(side, 'memory.current'), `${currentBytes}\n`);
        writeFileSync(
          file(side, 'memory.stat'),
          `anon ${anonBytes}\nfile ${currentBytes - anonBytes}\nshmem 0\nworkingset_refault_file ${refaults}\n`,
        );
        writeFileSync(file(side, 'memory.pressure'), pressureText(waitedUs));
        writeFileSync(file(side, 'io.pressure'), pressureText(ioWaitedUs));
        for (const [knob, free] of [
          ['memory.low', '0'],
          ['memory.high', 'max'],
        ] as const)
          if (!existsSync(file(side, knob))) writeFileSync(file(side, knob), `${free}\n`);
      }
      const { user, system } = tree.sides;
      writeFileSync(tree.files.pressure, pressureText(user.waitedUs + system.waitedUs));
      const kib = (name: string, bytes: number) => `${name}: ${Math.round(bytes / 1024)} kB\n`;
      writeFileSync(
        tree.files.meminfo,
        kib('MemTotal', tree.totalBytes) +
          kib('MemFree', tree.availableBytes) +
          kib('MemAvailable', tree.availableBytes) +
          kib('SwapTotal', tree.swapBytes) +
          kib('SwapFree', tree.swapBytes),
      );
    },
    knob: (side, name) => readFileSync(file(side, name), 'utf8').trim(),
    set: (side, name, value) => writeFileSync(file(side, name), `${value}\n`),
  };
  tree.show();
  return tree;
}
