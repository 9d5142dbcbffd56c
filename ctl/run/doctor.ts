import { exitStatus } from '../../ipc/errors.ts';
import type { Answer } from '../../ipc/methods/index.ts';
import type { Call } from '../call.ts';
import { indented } from '../print/columns.ts';
import { padded, type Safe, say } from '../print/safe.ts';
import type { Style } from '../print/style.ts';

type Report = Answer<'daemon.doctor'>;
type State = Report['capabilities'][number]['state'] | Report['checks'][number]['state'];

function mark(state: State, style: Style): Safe {
  if (state === 'ok') return style.green('ok      ');
  if (state === 'fallback' || state === 'warning') return style.yellow(padded(state, 8));
  return style.red(padded(state, 8));
}

interface Finding {
  name: string;
  state: State;
  detail: string;
  usedFor?: string;
  fix?: string | undefined;
}

function findingLines(findings: readonly Finding[], style: Style): Safe[] {
  const width = Math.max(0, ...findings.map(({ name }) => name.length));
  return findings.flatMap(({ name, state, detail, usedFor, fix }) => {
    const use = usedFor === undefined ? '' : style.dim(say`  for ${usedFor}`);
    const line = say`${mark(state, style)}  ${style.bold(padded(name, width))}  ${detail}${use}`;
    const how = say`          ${' '.repeat(width)}  fix: ${style.cyan(fix ?? '')}`;
    return fix === undefined || state === 'ok' ? [line] : [line, how];
  });
}

function page({ kernel, capabilities, checks }: Report, style: Style): Safe[] {
  const all = [...capabilities, ...checks];
  const bad = all.filter(({ state }) => state === 'missing' || state === 'failed').length;
  const half = all.filter(({ state }) => state === 'fallback' || state === 'warning').length;
  const verdict =
    bad > 0
      ? style.red(`${bad} of ${all.length} need repair`)
      : half > 0
        ? style.yellow(`all works, ${half} of ${all.length} in a slower or poorer way`)
        : style.green(`all ${all.length} are well`);
  return [
    say`${style.bold('What this machine can do')}  ${style.dim(say`Linux ${kernel}`)}`,
    ...indented(findingLines(capabilities, style)),
    style.bold('Checks'),
    ...indented(findingLines(checks, style)),
    verdict,
  ];
}

/** `personactl doctor`: status 1 when a check has failed. A missing capability fails only its check. */
export async function doctor(call: Call): Promise<number> {
  const client = await call.client();
  const report = await client.call('daemon.doctor', {});
  call.out.result(report, () => page(report, call.out.style));
  const failed = report.checks.some(({ state }) => state === 'failed');
  return failed ? exitStatus.failure : exitStatus.ok;
}
