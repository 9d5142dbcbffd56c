import { exitStatus } from '../../ipc/errors.ts';
import type { RunningApplication, VerifiedApplication } from '../../ipc/methods/shapes.ts';
import { formatDuration, formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { columns, indented } from '../print/columns.ts';
import { type Safe, say } from '../print/safe.ts';
import type { Style } from '../print/style.ts';

function lines(all: readonly RunningApplication[], { out, io }: Call): Safe[] {
  const { style } = out;
  const titles = [
    { title: 'APP' },
    { title: 'PROFILE' },
    { title: 'STARTED' },
    { title: 'FOR', side: 'right' as const },
    { title: 'MEMORY', side: 'right' as const },
    { title: 'GROUP' },
  ];
  const rows = all.map((one) => [
    style.bold(one.app),
    one.violation === undefined ? one.profile : style.red(one.profile),
    one.by === 'launch' ? 'by personad' : 'otherwise',
    formatDuration(Math.max(1000, io.now() - one.sinceMs)),
    one.memoryBytes === undefined ? '' : formatSize(one.memoryBytes),
    one.group,
  ]);
  const [head, ...rest] = columns(titles, rows, style);
  const remarks = ({ reason, rule, violation }: RunningApplication): Safe[] => [
    style.dim(say`${reason} (${rule})`),
    ...(violation === undefined ? [] : [style.red(violation)]),
  ];
  return [head!, ...rest.flatMap((line, at) => [line, ...indented(remarks(all[at]!), 4)])];
}

/** `personactl app running` */
export async function running(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('launch.list', {});
  call.out.result(answer, () => {
    const { applications, more, obstacle } = answer;
    if (applications.length === 0) {
      const why = obstacle === undefined ? '' : `: ${obstacle}`;
      call.out.note(say`No application is known to run${why}.`);
      return [];
    }
    if (more > 0) call.out.note(say`There are ${more} more.`);
    return lines(applications, call);
  });
}

function verifiedLines(one: VerifiedApplication, style: Style): Safe[] {
  const paint = { holds: style.green, fails: style.red, unknown: style.yellow };
  const rows = one.checks.map(({ name, state, detail }) => [name, paint[state](state), detail]);
  const [, ...checks] = columns(
    ['', '', ''].map((title) => ({ title })),
    rows,
    style,
  );
  return [
    say`${style.bold(one.app)}  ${one.profile}  ${style.dim(one.group)}`,
    ...indented(checks),
  ];
}

/** `personactl profile verify`: status 1 when a check has failed. */
export async function verify(call: Call): Promise<number> {
  const client = await call.client();
  const app = call.given('APP');
  const answer = await client.call('launch.verify', app === undefined ? {} : { app });
  const { applications, more } = answer;
  call.out.result(answer, () => {
    if (applications.length === 0) call.out.note(say`No such application is known to run.`);
    if (more > 0) call.out.note(say`There are ${more} more, which were not looked at.`);
    return applications.flatMap((one) => verifiedLines(one, call.out.style));
  });
  return applications.every(({ holds }) => holds) ? exitStatus.ok : exitStatus.failure;
}
