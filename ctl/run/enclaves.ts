import { exitStatus } from '../../ipc/errors.ts';
import type { Assurance, EnclavePage } from '../../ipc/methods/shapes.ts';
import { formatDuration, formatSize, parseSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { columns, facts, indented } from '../print/columns.ts';
import { type Safe, say } from '../print/safe.ts';
import type { Style } from '../print/style.ts';
import { ago, moment } from '../print/time.ts';
import { sendPresent, sendSecret } from '../secret.ts';

function stateText({ state, problem }: EnclavePage, style: Style): Safe {
  if (problem !== undefined) return style.red(say`${state}: ${problem}`);
  if (state === 'missing') return style.red('missing');
  return state === 'open' ? style.green('open') : say`closed`;
}

const ownerText = ({ owner }: EnclavePage) => owner.name ?? `uid ${owner.uid}`;

const types = ['auto', 'luks2', 'fscrypt'] as const;

/** `personactl enclave create` */
export async function create(call: Call): Promise<number | undefined> {
  const name = call.name('NAME');
  const bytes = parseSize(call.text('size') ?? '');
  const type = types.find((one) => one === call.text('type'));
  const params = {
    name,
    bytes,
    ...(type !== undefined && { type }),
    ...(await sendSecret(call, true)),
  };
  return runChange(call, 'enclave.create', params, (outcome) => {
    const { enclave } = outcome.result;
    call.out.done(outcome, () => [
      say`Enclave ${call.out.style.bold(enclave.name)} is there, ${formatSize(enclave.bytes)}, closed.`,
      call.out.style.dim(say`Open it: \`personactl enclave open ${enclave.name}\``),
    ]);
    return undefined;
  });
}

/** `personactl enclave open` */
export async function open(call: Call): Promise<number | undefined> {
  const enclave = call.name('ENCLAVE');
  const seconds = call.number('idle');
  const params = {
    enclave,
    ...(await sendPresent(call)),
    ...(seconds !== undefined && { idleMs: seconds * 1000 }),
    ...(call.has('close-on-suspend') && { beforeSleep: true }),
  };
  return runChange(call, 'enclave.open', params, (outcome) => {
    const { name, path } = outcome.result.enclave;
    call.out.done(outcome, () => [say`Enclave ${call.out.style.bold(name)} is open: ${path}`]);
    return undefined;
  });
}

/** `personactl enclave close` */
export async function close(call: Call): Promise<number | undefined> {
  const params = { enclave: call.name('ENCLAVE'), ...(call.has('force') && { force: true }) };
  return runChange(call, 'enclave.close', params, (outcome) => {
    const { enclave, held } = outcome.result;
    call.out.done(outcome, () => [
      say`Enclave ${enclave} is closed.`,
      ...(held
        ? [
            call.out.style.yellow(
              'A program still holds a file of it, and can read that until it ends.',
            ),
          ]
        : []),
    ]);
    return undefined;
  });
}

/** `personactl enclave sleep` */
export async function sleep(call: Call): Promise<number | undefined> {
  const client = await call.client();
  const answer = await client.call('enclave.sleep', {});
  const { style } = call.out;
  call.out.result(answer, () => [
    ...answer.closed.map((enclave) => say`Enclave ${enclave} is closed.`),
    ...answer.held.map((enclave) =>
      style.yellow(say`Enclave ${enclave} is closed; a program still holds a file of it.`),
    ),
    ...answer.left.map(({ enclave, reason }) =>
      style.red(say`Enclave ${enclave} is still open: ${reason}`),
    ),
  ]);
  return answer.left.length === 0 ? undefined : exitStatus.failure;
}

/** `personactl enclave passwd` */
export async function passwd(call: Call): Promise<number | undefined> {
  const enclave = call.name('ENCLAVE');
  const given = await sendPresent(call);
  const params = { enclave, ...given, new: await sendSecret(call, true, 'new-') };
  return runChange(call, 'enclave.passwd', params, (outcome) => {
    call.out.done(outcome, () => [
      say`Enclave ${call.out.style.bold(enclave)} opens by its new key only.`,
    ]);
    return undefined;
  });
}

/** `personactl enclave rm` */
export async function remove(call: Call): Promise<number | undefined> {
  return runChange(call, 'enclave.rm', { enclave: call.name('ENCLAVE') }, (outcome) => {
    const { enclave, freedBytes } = outcome.result;
    call.out.done(outcome, () => [
      say`Enclave ${enclave} is destroyed, ${formatSize(freedBytes)} freed.`,
    ]);
    return undefined;
  });
}

const titles = [
  ...['ENCLAVE', 'STATE', 'OWNER'].map((title) => ({ title })),
  { title: 'SIZE', side: 'right' as const },
  ...['KEY', 'PATH'].map((title) => ({ title })),
];

/** `personactl enclave list` */
export async function list(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('enclave.list', {});
  const { style } = call.out;
  call.out.result(answer, () => {
    if (answer.enclaves.length === 0) {
      call.out.note(
        say`No enclaves yet: \`personactl enclave create NAME --size SIZE\` makes one.`,
      );
      return [];
    }
    const rows = answer.enclaves.map((one) => [
      style.bold(one.name),
      stateText(one, style),
      ownerText(one),
      formatSize(one.bytes),
      one.key,
      one.state === 'open' ? one.path : '',
    ]);
    return columns(titles, rows, style);
  });
}

function assuranceLines(assurance: Assurance, style: Style): Safe[] {
  const {
    hardware,
    hardwareUsed,
    memory,
    protection,
    sameUser,
    swap,
    disk,
    key,
    keyMemory,
    sleep: sleepText,
    reach,
  } = assurance;
  const found = hardware === 'none' || hardwareUsed ? hardware : `${hardware}, not used for this`;
  return [
    style.bold('Assurance'),
    ...indented(
      facts(
        [
          ['hardware', found],
          ['memory', memory],
          ['protection', protection],
          ['same user', sameUser],
          ['swap', swap],
          ['disk', disk],
          ['key', key],
          ['key in memory', keyMemory],
          ['sleep', sleepText],
        ],
        style,
      ),
    ),
    style.bold('Who can still reach it, while it is closed'),
    ...indented(reach.closed.map((text) => say`- ${text}`)),
    style.bold('Who can still reach it, while it is open'),
    ...indented(reach.open.map((text) => say`- ${text}`)),
  ];
}

function closesText({ idleMs, beforeSleep }: EnclavePage): string | undefined {
  const when = [
    ...(idleMs === undefined ? [] : [`when unused for ${formatDuration(idleMs)}`]),
    ...(beforeSleep === true ? ['before the machine sleeps'] : []),
  ];
  return when.length === 0 ? undefined : when.join(', and ');
}

/** `personactl enclave show` */
export async function show(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('enclave.show', { enclave: call.name('ENCLAVE') });
  const { enclave, assurance } = answer;
  const { style } = call.out;
  call.out.result(answer, () => [
    style.bold(enclave.name),
    ...indented(
      facts(
        [
          ['state', stateText(enclave, style)],
          ['path', enclave.path],
          ['owner', ownerText(enclave)],
          ['size', formatSize(enclave.bytes)],
          ['type', enclave.type],
          [
            'key',
            enclave.credential === undefined ? enclave.key : say`credential ${enclave.credential}`,
          ],
          ['recovery key', enclave.recovery ? 'there is one' : 'none'],
          ['made', moment(enclave.createdMs)],
          [
            'open since',
            enclave.openedMs === undefined
              ? undefined
              : `${moment(enclave.openedMs)} (${ago(enclave.openedMs, call.io.now())})`,
          ],
          ['closes', closesText(enclave)],
          ...enclave.inside.map(
            ({ pid, uid, command }) =>
              ['inside', say`${command} (pid ${pid}, uid ${uid})`] as const,
          ),
        ],
        style,
      ),
    ),
    ...assuranceLines(assurance, style),
  ]);
}
