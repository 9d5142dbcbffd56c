import { exitStatus } from '../../ipc/errors.ts';
import type { Answer } from '../../ipc/methods/index.ts';
import type { Call } from '../call.ts';
import { indented } from '../print/columns.ts';
import type { Output } from '../print/output.ts';
import { cut, joined, padded, type Safe, say } from '../print/safe.ts';
import type { Style } from '../print/style.ts';
import { wrapped } from '../print/wrap.ts';

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

/** One line each, cut only to fit a terminal; what is not well gets its reason and its fix on lines of their own. */
function findingLines(findings: readonly Finding[], { style, columns, terminal }: Output): Safe[] {
  const width = Math.max(0, ...findings.map(({ name }) => name.length));
  const room = columns - width - 14;
  return findings.flatMap(({ name, state, detail, usedFor, fix }) => {
    const head = say`${mark(state, style)}  ${style.bold(padded(name, width))}  `;
    const below = (text: string): Safe[] =>
      wrapped(text, Math.max(40, room)).map((one) => say`${' '.repeat(width + 12)}${one}`);
    if (usedFor === undefined || state === 'ok') {
      const left = terminal ? room - (usedFor?.length ?? -2) - 2 : detail.length + 9;
      const found = usedFor === undefined ? cut(detail, left) : style.dim(cut(detail, left));
      const line = joined(
        [...(usedFor ? [usedFor] : []), ...(detail && left > 8 ? [found] : [])],
        '  ',
      );
      return [say`${head}${line}`, ...(state === 'ok' || !fix ? [] : below(`fix: ${fix}`))];
    }
    return [say`${head}${usedFor}`, ...below(detail), ...(fix ? below(`fix: ${fix}`) : [])];
  });
}

function page({ kernel, capabilities, checks }: Report, out: Output): Safe[] {
  const { style } = out;
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
    ...indented(findingLines(capabilities, out)),
    style.bold('Checks'),
    ...indented(findingLines(checks, out)),
    verdict,
  ];
}

/** `personactl doctor`: status 1 when a check has failed. A missing capability fails only its check. */
export async function doctor(call: Call): Promise<number> {
  const client = await call.client();
  const report = await client.call('daemon.doctor', {});
  call.out.result(report, () => page(report, call.out));
  const failed = report.checks.some(({ state }) => state === 'failed');
  return failed ? exitStatus.failure : exitStatus.ok;
}
