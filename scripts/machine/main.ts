/** The command line of scripts/vm: machines that stay until they are removed, by name. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { machineFolder } from './cache.ts';
import { guestImage, lastPackage } from './guest-image.ts';
import { findMachine, type Machine, makeMachine } from './machine.ts';
import { type Suite, suites } from './packages.ts';
import { savedState } from './saved-machine.ts';
import { openShell } from './shell.ts';

const usage = `usage: scripts/vm COMMAND
  image [--suite trixie|bookworm]     make the image now, with the package in build/ when there is one
  up NAME [--suite S] [--disk 2G] [--snapshot]
                                      make the machine, or switch it on again with the same disks
  run NAME [--deadline SECONDS] [--user USER] -- COMMAND [ARGUMENT...]
                                      output and exit status are the command's; one argument alone is a shell line
  shell NAME                          a terminal in it
  put NAME LOCAL REMOTE               copy a file or folder into it
  get NAME REMOTE LOCAL               copy a file or folder out of it
  cut NAME [--keep-disk-cache]        power cut: what it did not flush is lost; or only what it had not written yet
  down NAME                           switch off in order
  console NAME                        what its kernel wrote
  status                              the machines
  rm NAME                             end it and remove its disks
A machine ends by itself after 4 hours. Two machines are never up at once.
`;

const exits = { usage: 64, failure: 70 };

class UsageError extends Error {}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    suite: { type: 'string', default: 'trixie' },
    disk: { type: 'string', default: '2G' },
    snapshot: { type: 'boolean', default: false },
    deadline: { type: 'string', default: '600' },
    user: { type: 'string' },
    'keep-disk-cache': { type: 'boolean', default: false },
  },
});
const [verb = 'help', name = '', ...rest] = positionals;
const machines = join(machineFolder(), 'vm');
const say = (text: string): void => console.error(text);

const commands: Readonly<Record<string, () => Promise<number | undefined>>> = {
  async help() {
    process.stdout.write(usage);
    return undefined;
  },
  async image() {
    console.log((await guestImage(suite(), lastPackage(), say)).root);
    return undefined;
  },
  async up() {
    const startedMs = Date.now();
    const machine = findMachine(folderOf(name)) ?? (await makeNamed());
    await machine.boot();
    const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
    say(`${name}: ${machine.state} after ${seconds} s`);
    machine.disconnect();
    return undefined;
  },
  run: () =>
    inside(async (machine) => {
      if (rest.length === 0) throw new UsageError('run: which command?');
      const options = {
        deadlineMs: Number(values.deadline) * 1000,
        ...(values.user === undefined ? {} : { user: values.user }),
      };
      return machine.stream(
        rest.length === 1 ? (rest[0] ?? '') : rest,
        options,
        (stream, bytes) => {
          (stream === 'out' ? process.stdout : process.stderr).write(bytes);
          return true;
        },
      );
    }),
  shell: () => inside(openShell),
  put: () => inside((machine) => machine.put(needed(0), needed(1))),
  get: () => inside((machine) => machine.get(needed(0), needed(1))),
  async cut() {
    await existing().cut({ keepDiskCache: values['keep-disk-cache'] });
    return undefined;
  },
  down: () => inside((machine) => machine.down()),
  async console() {
    process.stdout.write(existing().console());
    return undefined;
  },
  async status() {
    for (const one of existsSync(machines) ? readdirSync(machines) : []) {
      const machine = findMachine(folderOf(one));
      const state = machine?.up ? 'up' : 'off';
      console.log(`${one}\t${state}\t${machine?.image.suite ?? 'broken'}`);
    }
    return undefined;
  },
  async rm() {
    await existing().remove();
    return undefined;
  },
};

async function inside(work: (machine: Machine) => Promise<unknown>): Promise<number | undefined> {
  const machine = existing();
  if (!machine.up) throw new Error(`${name} is off: scripts/vm up ${name}`);
  await machine.connect();
  try {
    const status = await work(machine);
    return typeof status === 'number' ? status : undefined;
  } finally {
    machine.disconnect();
  }
}

async function makeNamed(): Promise<Machine> {
  const image = await guestImage(suite(), lastPackage(), say);
  const saved = values.snapshot ? { saved: await savedState(image, say) } : {};
  return makeMachine(folderOf(name), { image, disk: values.disk, loose: true, ...saved });
}

function existing(): Machine {
  const machine = findMachine(folderOf(name));
  if (machine === undefined)
    throw new UsageError(`there is no machine ${name}: scripts/vm up ${name}`);
  return machine;
}

function folderOf(one: string): string {
  if (!/^[a-z0-9][a-z0-9-]{0,30}$/.test(one))
    throw new UsageError('a machine has a name of a-z, 0-9 and -');
  return join(machines, one);
}

function suite(): Suite {
  const found = suites.find((one) => one === values.suite);
  if (found === undefined) throw new UsageError(`--suite is one of ${suites.join(', ')}`);
  return found;
}

function needed(at: number): string {
  const value = rest[at];
  if (value === undefined) throw new UsageError(`${verb}: an argument is missing`);
  return value;
}

try {
  const command = commands[verb];
  if (command === undefined) throw new UsageError(`there is no command ${verb}`);
  process.exitCode = (await command()) ?? 0;
} catch (error) {
  console.error(`vm: ${(error as Error).message}`);
  if (error instanceof UsageError) process.stderr.write(usage);
  process.exitCode = error instanceof UsageError ? exits.usage : exits.failure;
}
