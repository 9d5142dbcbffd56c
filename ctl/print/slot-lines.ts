import type { Generation, SlotPage } from '../../ipc/methods/shapes.ts';
import { formatSize } from '../../ipc/values.ts';
import { joined, type Piece, type Safe, say } from './safe.ts';
import type { Style } from './style.ts';
import { ago } from './time.ts';

/** Holders that are named before "and N more". */
const holdersShown = 4;

type Holder = SlotPage['processes'][number];

/** "bash (1234), make (1300) and 3 more". */
export function holderText(holders: readonly Holder[]): Safe {
  const named = holders
    .slice(0, holdersShown)
    .map(({ command, pid }) => say`${command || '?'} (${pid})`);
  const more = holders.length - named.length;
  return more > 0 ? say`${joined(named, ', ')} and ${more} more` : joined(named, ', ');
}

/** What a generation activated: the name of the persona, or "clean base NAME". */
export function activeName({ persona, base }: Generation): string {
  return persona?.name ?? `clean base ${base.name ?? base.digest.slice(0, 19)}`;
}

/** The state of a generation, coloured. */
export function generationState({ state }: Generation, style: Style): Safe {
  const paint = { good: style.green, trial: style.yellow, failed: style.red }[state];
  return paint(state);
}

/** "active", "draining", "sealed, 12 MiB", "sealed, 12 MiB, on 2 older". */
export function upperText({ upper }: Generation): string {
  const parts: string[] = [upper.state];
  if (upper.bytes !== undefined) parts.push(formatSize(upper.bytes));
  if (upper.below) parts.push(`on ${upper.below} older`);
  return parts.join(', ');
}

/** A slot's state as a word. */
export function slotState({ state }: SlotPage, style: Style): Safe {
  return { active: style.green, empty: style.dim, broken: style.red }[state](state);
}

/** Remarks under a slot: who is inside, what still drains, what is wrong. */
export function slotRemarks(slot: SlotPage, style: Style): Safe[] {
  const lines: Safe[] = [];
  if (slot.problem) lines.push(say`${style.red('problem')}  ${slot.problem}`);
  if (slot.processes.length > 0)
    lines.push(say`${style.dim('inside')}   ${holderText(slot.processes)}`);
  for (const { generation, holders } of slot.draining) {
    const who = holders.length > 0 ? say`held by ${holderText(holders)}` : 'being released';
    const what = `generation ${generation.number}, ${activeName(generation)}`;
    lines.push(say`${style.yellow('draining')} ${what}: ${who}`);
  }
  return lines;
}

/** Cells of a slot in a table: name, state, what is active, generation, since when, owner. */
export function slotCells(slot: SlotPage, nowMs: number, callerUid: number, style: Style): Piece[] {
  const { name, active, owner, ephemeral } = slot;
  const mine = owner.uid === callerUid;
  return [
    style.bold(name),
    slotState(slot, style),
    active ? style.cyan(activeName(active)) : '',
    active ? say`${active.number} ${generationState(active, style)}` : '',
    active ? ago(active.startedMs, nowMs) : '',
    mine ? 'you' : (owner.name ?? String(owner.uid)),
    ephemeral ? style.dim('throw-away') : '',
  ];
}

/** Titles for slotCells. */
export const slotTitles = ['SLOT', 'STATE', 'PERSONA', 'GENERATION', 'SINCE', 'OWNER', ''].map(
  (title) => ({ title }),
);
