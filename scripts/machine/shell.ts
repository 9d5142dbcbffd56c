import type { Machine } from './machine.ts';

/** A terminal of the guest on this one. Returns the shell's exit status. */
export async function openShell(machine: Machine): Promise<number> {
  const { columns = 80, rows = 24 } = process.stdout;
  const size = `stty columns ${columns} rows ${rows}; exec bash --login`;
  const term = `TERM=${process.env.TERM ?? 'dumb'}`;
  const argv = ['env', term, 'script', '--quiet', '--return', '--command', size, '/dev/null'];
  const shell = machine.open(argv, (_, bytes) => process.stdout.write(bytes));
  const { stdin } = process;
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on('data', (bytes: Buffer) => void shell.write(bytes));
  stdin.on('end', () => shell.endInput());
  try {
    return (await shell.ended).status;
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.destroy();
  }
}
