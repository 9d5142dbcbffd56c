import type { Command } from '../command.ts';
import { shareFlags } from './share-flags.ts';

/** The simulator. It needs no daemon and no rights: the tool runs it itself. */
export const replayCommands = (): readonly Command[] => [
  {
    name: 'partitions replay',
    group: 'Partitions',
    summary: 'Try policies on a simulated machine, and compare them.',
    about: [
      'Runs the very policies of the daemon, once a simulated second, on two simulated sides: over scenarios drawn from seeds, or over a trace. Nothing of this machine is touched, and no daemon is needed.',
      'TRACE is a CSV file of `partitions record`, or with the columns seconds,user_bytes,system_bytes alone (the machine has what both sides use at most together then, unless --memory says more), or one of the Bitbrains form. Traces of more than a day are replayed in a day. Where a trace says how the sides waited, a remark says how they wait on the simulator with nothing managed.',
      'SHORT is working set that was taken away, in GiB times seconds each hour (without page heat: memory that was wanted and not there); AVOIDABLE is the part that the other side or free memory could have covered. REVERSALS are moves taken back within a minute; RELIEF is how long such a shortage lasted. USER WAITS and SYSTEM are the shares of the time in which tasks of that side waited for memory. `oracle` knows what every page is used for and cannot be had; `rare-oracle` knows as much, and writes seldom.',
      'Parts and thresholds are those of the specification unless they are said: `partitions set` takes the same flags.',
      'Below each line stands the 95 % interval of its figures, by resampling the scenarios; with one scenario there is none.',
    ],
    operands: [{ name: 'TRACE', summary: 'A CSV trace.', optional: true, complete: 'file' }],
    flags: [
      {
        name: 'policy',
        value: 'NAME',
        summary: 'A policy to compare, or all (the default).',
        many: true,
      },
      { name: 'seed', value: 'N', summary: 'Number of the first scenario; 1 unless said.' },
      { name: 'seeds', value: 'N', summary: 'How many scenarios; 5 unless said.' },
      {
        name: 'model',
        value: 'NAME',
        summary: 'Heat of pages (the default), or first-order: all is wanted all the time.',
        choices: ['heat', 'first-order'],
      },
      {
        name: 'memory',
        value: 'SIZE',
        summary:
          'Memory of the machine that replays a trace; else what was left to both sides when it was recorded.',
      },
      ...shareFlags,
      {
        name: 'swap-on',
        value: 'KIND',
        summary:
          'Where pages that are taken away come back from: nvme (the default, 90 us each), sata (300 us) or zram (10 us, and a part of the memory).',
        choices: ['nvme', 'sata', 'zram'],
      },
      { name: 'hints', summary: 'Announce the start of programs to the policies.' },
      {
        name: 'output',
        short: 'o',
        value: 'FILE',
        summary: 'Write the plot of the first scenario as SVG.',
        complete: 'file',
      },
      { name: 'force', summary: 'Replace FILE when it exists.' },
    ],
    examples: [
      ['personactl partitions replay --seeds 20', ''],
      ['personactl partitions replay day.csv --policy protective -o day.svg', ''],
      ['personactl partitions replay day.csv --policy static --user 60 --least 10', ''],
    ],
    load: async () => (await import('../run/replay.ts')).replay,
  },
];
