/**
 * `npm run bench -- NAME... [--json] [--quick] [--runs N]`, `npm run bench -- --list`.
 * Prints a table of bars, or with --json `{"bars": [...]}`. A bar holds on the best of N runs; no other run is made when all
 * hold. Exit status 1 when a bar is missed.
 */
import { parseArgs } from 'node:util';
import { type Bar, table } from './bar.ts';
import { untilHeld } from './runs.ts';

interface Bench {
  summary: string;
  /** How often it is run at most; 1 unless set, and with --quick. */
  runs?: number;
  run(options: { quick: boolean }): Promise<Bar[]>;
}

const benches: Record<string, () => Promise<Bench>> = {
  swap: () => import('./swap.ts'),
  launch: () => import('./launch.ts'),
  fast: () => import('./fast.ts'),
  partitions: () => import('./partitions.ts'),
  'partitions-live': () => import('./partitions-live.ts'),
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    runs: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  console.log('usage: npm run bench -- [--list] [--json] [--quick] [--runs N] NAME...');
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
  if (values.runs !== undefined && !/^[1-9][0-9]?$/.test(values.runs)) {
    console.error(`--runs takes a number from 1 to 99, not '${values.runs}'`);
    process.exit(2);
  }
  const { quick } = values;
  const bars: Bar[] = [];
  for (const name of names) {
    const bench = await benches[name]!();
    const runs = Number(values.runs ?? (quick ? 1 : (bench.runs ?? 1)));
    bars.push(...(await untilHeld(() => bench.run({ quick }), runs)));
  }
  console.log(values.json ? JSON.stringify({ bars }) : table(bars));
  process.exitCode = bars.some((bar) => bar.holds === false) ? 1 : 0;
}
