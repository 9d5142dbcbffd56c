import { writeFileSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { parseSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { checkTarget } from '../download.ts';
import { runReplay } from '../launch/replay-program.ts';
import { type ReplayPage, replayLines } from '../print/replay-lines.ts';
import { replaySvg } from '../print/replay-svg.ts';
import { say } from '../print/safe.ts';
import { usageError } from '../usage-error.ts';
import { wantedShares } from './wanted-shares.ts';

/** As many scenarios as a few seconds allow. */
const SEEDS = 5;
const POINTS = 400;

/** Where the plot goes. Throws `bad-usage` for a name that promises another format, before anything is computed. */
function plotFile(call: Call): string | undefined {
  const file = call.text('output');
  const format = extname(file ?? '').toLowerCase();
  if (['', '.svg'].includes(format)) return file;
  const reason = `a plot is written as SVG, not as ${format}`;
  throw usageError(reason, call.command.name, 'Give it a name that ends in .svg.');
}

/** `personactl partitions replay`: no daemon is asked. */
export async function replay(call: Call): Promise<undefined> {
  const trace = call.given('TRACE');
  const memory = call.text('memory');
  const file = plotFile(call);
  if (memory !== undefined && trace === undefined)
    throw usageError('--memory is the machine of a TRACE, and there is none', call.command.name);
  const model = call.text('model') ?? 'heat';
  const swapOn = call.text('swap-on');
  if (swapOn !== undefined && model !== 'heat')
    throw usageError('--swap-on is for the model with page heat', call.command.name);
  if (file !== undefined) await checkTarget(call, file, call.has('force'));
  const policies = call.list('policy');
  const shares = wantedShares(call);
  const task = {
    ...(trace !== undefined && { trace: resolve(call.io.cwd(), trace) }),
    seed: call.number('seed') ?? 1,
    seeds: call.number('seeds') ?? SEEDS,
    policies: policies.length > 0 ? policies : ['all'],
    model,
    ...(shares !== undefined && { shares }),
    ...(swapOn !== undefined && { swapOn }),
    ...(memory !== undefined && { totalBytes: parseSize(memory) }),
    hints: call.has('hints'),
    points: POINTS,
  };
  const page = runReplay<ReplayPage>(task);
  if (file !== undefined) writeFileSync(resolve(call.io.cwd(), file), replaySvg(page));
  call.out.result(page, () => replayLines(page, call.out));
  if (file !== undefined) call.out.note(say`the plot is in ${file}`);
  return undefined;
}
