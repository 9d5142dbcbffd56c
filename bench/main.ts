/**
 * `npm run bench -- NAME... [--json] [--quick]`, `npm run bench -- --list`.
 * Prints a table of bars, or with --json `{"bars": [...]}`. Exit status 1 when a bar is missed.
 */
import { parseArgs } from 'node:util';
import { type Bar, table } from './bar.ts';

interface Bench {
  summary: string;
  run(options: { quick: boolean }): Promise<Bar[]>;
}

const benches: Record<string, () => Promise<Bench>> = {
  swap: () => import('./swap.ts'),
  partitions: () => import('./partitions.ts'),
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  console.log('usage: npm run bench -- [--list] [--json] [--quick] NAME...');
} else if (values.list) {
  for (const [name, load] of Object.entries(benches))
    console.log(`${name}  ${(await load()).summary}`);
} else {
  const names = positionals.length > 0 ? positionals : Object.keys(benches);
  const unknown = names.find((name) => !Object.hasOwn(benches, name));
  if (unknown !== undefined) {
    console.error(`cannot run the bench '${unknown}': there is none; see --list`);
    process.exit(2);
  }
  const bars: Bar[] = [];
  for (const name of names)
    bars.push(...(await (await benches[name]!()).run({ quick: values.quick })));
  console.log(values.json ? JSON.stringify({ bars }) : table(bars));
  process.exitCode = bars.some((bar) => bar.holds === false) ? 1 : 0;
}
