import { spawn } from 'node:child_process';
import { flushCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import type { Faults } from '../../daemon/changes/faults.ts';
import type { Json } from '../../daemon/changes/task.ts';
import { openDriver } from '../../daemon/store/database.ts';
import type { Driver } from '../../daemon/store/store.ts';
import {
  type Course,
  type Hooks,
  inFolder,
  type Machine,
  plain,
  type Subject,
  withMachine,
} from './machine.ts';

/** Where the subject stands, for the child that is really killed. */
export interface SubjectPlace {
  module: string;
  name: string;
}

/** A database connection that a crash cuts: from then on nothing is written and nothing answers. */
function cuttable(): { cut(): void; release(): void; openDriver: Hooks['openDriver'] } {
  let dead = false;
  const opened: Driver[] = [];
  const never = new Promise<never>(() => undefined);
  return {
    cut: () => {
      dead = true;
    },
    release: () => {
      for (const driver of opened) driver.close().catch(() => undefined);
    },
    openDriver: async (file) => {
      const driver = await openDriver(file);
      opened.push(driver);
      return {
        exec: (sql) => (dead ? never : driver.exec(sql)),
        all: (sql, values) => (dead ? never : driver.all(sql, values)),
        close: () => driver.close(),
      };
    },
  };
}

/** Recovers twice, each time as a new machine, and expects one of the two states both times. */
async function expectRecovered(
  t: ExecutionContext,
  subject: Subject,
  folder: string,
  { first, target }: Course,
  where: string,
): Promise<void> {
  const seen: Json[] = [];
  for (const turn of ['first', 'second']) {
    const now = await withMachine(subject, folder, {}, async ({ engine, observe }) => {
      t.deepEqual(engine.open(), [], `${where}: nothing stays open after the ${turn} recovery`);
      return await observe();
    });
    seen.push(now);
  }
  const isFirst = JSON.stringify(seen[0]) === JSON.stringify(first);
  t.deepEqual(seen[0], isFirst ? first : target, `${where}: the first state or the target`);
  t.deepEqual(seen[1], seen[0], `${where}: a second recovery changes nothing`);
}

/**
 * A crash at every fault point, in this process: the machine freezes there for ever, and a new one
 * recovers the folder. Also a crash at every point of that recovery, when `deep`.
 */
export async function proveCrashes(
  t: ExecutionContext,
  subject: Subject,
  seen: Course,
  { deep = false }: { deep?: boolean } = {},
): Promise<void> {
  for (let at = 1; at <= seen.points.length; at++) {
    let recoveryPoints = 0;
    for (let again = 0; again <= (deep ? recoveryPoints : 0); again++) {
      await inFolder(subject, async (folder) => {
        await crash(subject, folder, at, async ({ engine, plan }) => {
          await (await engine.submit(await plan())).done;
        });
        if (again > 0) await crash(subject, folder, again, async () => undefined);
        else if (deep) recoveryPoints = await countRecovery(subject, folder);
        const where = `crash at ${seen.points[at - 1]}, then at point ${again} of the recovery`;
        await expectRecovered(t, subject, folder, seen, where);
      });
    }
  }
}

async function countRecovery(subject: Subject, folder: string): Promise<number> {
  let count = 0;
  const faults: Faults = { at: async () => void count++ };
  await withMachine(subject, folder, { faults }, async () => undefined);
  return count;
}

/** Opens a machine, works on it and freezes it at its `at`-th fault point, counted after opening. */
async function crash(
  subject: Subject,
  folder: string,
  at: number,
  work: (machine: Machine) => Promise<void>,
): Promise<void> {
  const { cut, release, openDriver } = cuttable();
  const frozen = Promise.withResolvers<void>();
  let count = 0;
  const faults: Faults = {
    at: () => {
      count += 1;
      if (count < at) return Promise.resolve();
      cut();
      frozen.resolve();
      return new Promise(() => undefined);
    },
  };
  const machine = await subject.open(folder, { ...plain, faults, openDriver });
  const run = machine.engine.recover().then(() => work(machine));
  await Promise.race([run, frozen.promise]);
  release();
}

/** The real thing: a child process runs the change and is killed by SIGKILL at every fault point. */
export async function proveKills(
  t: ExecutionContext,
  subject: Subject,
  seen: Course,
  place: SubjectPlace,
): Promise<void> {
  // Who is killed keeps nothing of what it has compiled: it finds what this process has.
  flushCompileCache();
  for (let at = 1; at <= seen.points.length; at++) {
    await inFolder(subject, async (folder) => {
      const signal = await killedAt(place, folder, at);
      t.is(signal, 'SIGKILL', `the child must die at point ${at}`);
      await expectRecovered(t, subject, folder, seen, `killed at ${seen.points[at - 1]}`);
    });
  }
}

function killedAt(place: SubjectPlace, folder: string, at: number): Promise<string | null> {
  const child = fileURLToPath(new URL('./proof-child.ts', import.meta.url));
  return new Promise((resolve, reject) => {
    const args = ['--no-warnings', child, place.module, place.name, folder, String(at)];
    const running = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    const timer = setTimeout(() => running.kill('SIGTERM'), 60_000);
    running.on('error', reject);
    running.on('exit', (_, signal) => {
      clearTimeout(timer);
      resolve(signal);
    });
  });
}

/** Opens the subject in this process and kills the process at its `at`-th fault point. */
export async function dieAt(subject: Subject, folder: string, at: number): Promise<void> {
  let count = 0;
  const faults: Faults = {
    at: async () => {
      count += 1;
      if (count !== at) return;
      process.kill(process.pid, 'SIGKILL');
      await new Promise(() => undefined);
    },
  };
  const machine = await subject.open(folder, { ...plain, faults });
  await machine.engine.recover();
  await (await machine.engine.submit(await machine.plan())).done;
}
