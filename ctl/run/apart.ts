import type { Answer } from '../../ipc/methods/index.ts';
import type { Call } from '../call.ts';
import { facts, indented } from '../print/columns.ts';
import { type Safe, say } from '../print/safe.ts';
import type { Style } from '../print/style.ts';
import { moment } from '../print/time.ts';

type Apart = NonNullable<Answer<'launch.plan'>['assurance']>;

/** Who an application is kept apart from by what, and from whom not. */
export function assuranceLines(apart: Apart, style: Style): Safe[] {
  const { granted, disk, hardware, memory, protection, sameUser, swap, landlock, reach } = apart;
  const list = (title: string, texts: readonly string[]) => [
    style.bold(title),
    ...indented(texts.map((text) => say`${text}`)),
  ];
  return [
    ...list('Kept apart', apart.apart),
    ...list('Granted', granted.length === 0 ? ['nothing'] : granted),
    ...list('Can still reach it', reach),
    ...facts(
      [
        ['disk', disk],
        ['hardware', hardware === 'none' ? 'none' : `${hardware}, not used`],
        ['memory', memory],
        ['protection', protection],
        ['same user', sameUser],
        ['swap', swap],
        ['landlock', landlock],
      ],
      style,
    ),
  ];
}

/** `personactl app apart` */
export async function apart(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('launch.apart', {});
  call.out.result(answer, () => {
    if (answer.applications.length === 0) call.out.note(say`Nothing runs apart.`);
    if (answer.more > 0) call.out.note(say`There are ${answer.more} more.`);
    return answer.applications.flatMap((one) => [
      call.out.style.bold(say`${one.app}`),
      ...indented([
        say`process ${one.pid} of uid ${one.uid}, since ${moment(one.startedMs)}, in enclave ${one.enclave}`,
        ...assuranceLines(one, call.out.style),
      ]),
    ]);
  });
}
