import type { Params } from '../../ipc/methods/index.ts';
import type { SlotPage } from '../../ipc/methods/shapes.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { columns, facts, indented } from '../print/columns.ts';
import { type Safe, say } from '../print/safe.ts';
import {
  activeName,
  generationState,
  slotCells,
  slotRemarks,
  slotState,
  slotTitles,
  upperText,
} from '../print/slot-lines.ts';
import { ago, moment } from '../print/time.ts';
import { usageError } from '../usage-error.ts';
import { busyOf } from './busy.ts';

/** `personactl slot list` */
export async function list(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('slot.list', {});
  call.out.result(answer, () => {
    if (answer.slots.length === 0) {
      call.out.note(say`No slots yet: \`personactl slot create NAME\` makes one.`);
      return [];
    }
    const cells = answer.slots.map((slot) =>
      slotCells(slot, call.io.now(), call.io.uid(), call.out.style),
    );
    return columns(slotTitles, cells, call.out.style);
  });
}

function pageLines(slot: SlotPage, { out, io }: Call): Safe[] {
  const { active, owner } = slot;
  return [
    out.style.bold(slot.name),
    ...indented([
      ...facts(
        [
          ['state', slotState(slot, out.style)],
          ['persona', active && out.style.cyan(activeName(active))],
          [
            'generation',
            active && say`${active.number} ${generationState(active, out.style)}, ${active.reason}`,
          ],
          ['since', active && `${moment(active.startedMs)} (${ago(active.startedMs, io.now())})`],
          ['base', active && (active.base.name ?? active.base.digest)],
          ['written', active && upperText(active)],
          ['volume', slot.volume],
          ['path', slot.path],
          [
            'owner',
            owner.name === undefined ? `uid ${owner.uid}` : `${owner.name} (uid ${owner.uid})`,
          ],
          ['kind', slot.ephemeral ? 'throw-away' : undefined],
          ['made', moment(slot.createdMs)],
          ['generations', slot.generations],
        ],
        out.style,
      ),
      ...slotRemarks(slot, out.style),
    ]),
  ];
}

/** `personactl slot show` */
export async function show(call: Call): Promise<undefined> {
  const client = await call.client();
  const name = call.name('SLOT');
  const { slots } = await client.call('slot.list', {});
  const slot = slots.find((one) => one.name === name);
  if (slot === undefined) {
    const { PersonaError } = await import('../../ipc/errors.ts');
    throw new PersonaError('slot-not-found', { slot: name });
  }
  call.out.result({ slot }, () => pageLines(slot, call));
}

type SlotParams = Params<'slot.create'>;

/** The uid of a user: a number, or a name in the user database of this machine. */
async function uidOf(user: string, command: string): Promise<number> {
  if (/^\d{1,10}$/.test(user)) return Number(user);
  const { readFile } = await import('node:fs/promises');
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  const uid = Number(lines.find(([name]) => name === user)?.[2] ?? Number.NaN);
  if (Number.isNaN(uid)) throw usageError(`there is no user "${user}"`, command, 'Give the uid.');
  return uid;
}

/** `personactl slot create` */
export async function create(call: Call): Promise<number | undefined> {
  const user = call.text('owner');
  const owner = user === undefined ? undefined : await uidOf(user, call.command.name);
  const volume = call.text('volume') as SlotParams['volume'];
  const params = {
    name: call.name('NAME'),
    ...(call.has('ephemeral') && { ephemeral: true }),
    ...(owner !== undefined && { owner }),
    ...(volume !== undefined && { volume }),
  };
  return runChange(call, 'slot.create', params, (outcome) => {
    const { slot } = outcome.result;
    call.out.done(outcome, () => [
      say`Slot ${call.out.style.bold(slot.name)} is there: ${slot.path}`,
      call.out.style.dim(say`Activate a persona: \`personactl swap ${slot.name} PERSONA\``),
    ]);
    return undefined;
  });
}

/** `personactl slot move` */
export async function move(call: Call): Promise<number | undefined> {
  const params = {
    slot: call.name('SLOT'),
    to: call.text('to') as Params<'slot.move'>['to'],
    ...busyOf(call),
  };
  return runChange(call, 'slot.move', params, (outcome) => {
    const { name, volume } = outcome.result.slot;
    const place = volume === undefined ? 'the state tree' : `volume ${volume}`;
    call.out.done(outcome, () => [say`What is written in slot ${name} lies in ${place}.`]);
    return undefined;
  });
}

/** `personactl slot rm` */
export async function remove(call: Call): Promise<number | undefined> {
  const params = {
    slot: call.name('SLOT'),
    ...(call.has('discard') && { discard: true }),
    ...busyOf(call),
  };
  return runChange(call, 'slot.rm', params, (outcome) => {
    const { slot, freedBytes } = outcome.result;
    call.out.done(outcome, () => [say`Removed slot ${slot}, ${formatSize(freedBytes)} freed.`]);
    return undefined;
  });
}

const historyTitles = [
  { title: 'GENERATION', side: 'right' as const },
  ...['PERSONA', 'STATE', 'REASON', 'BEGUN', 'ENDED', 'WRITTEN', 'CHANGE', ''].map((title) => ({
    title,
  })),
];

/** `personactl history` */
export async function history(call: Call): Promise<undefined> {
  const client = await call.client();
  const { style } = call.out;
  const limit = call.number('limit');
  const slot = call.name('SLOT');
  const answer = await client.call('slot.history', { slot, ...(limit !== undefined && { limit }) });
  call.out.result(answer, () => {
    if (answer.generations.length === 0) {
      call.out.note(say`Nothing was ever active in slot ${slot}.`);
      return [];
    }
    const now = call.io.now();
    const rows = answer.generations.map((one) => [
      one.number,
      style.cyan(activeName(one)),
      generationState(one, style),
      one.reason,
      ago(one.startedMs, now),
      one.endedMs === undefined ? style.green('active') : ago(one.endedMs, now),
      upperText(one),
      one.changeId === undefined ? '' : `#${one.changeId}`,
      one.failure === undefined ? '' : style.red(one.failure),
    ]);
    return columns(historyTitles, rows, style);
  });
}
