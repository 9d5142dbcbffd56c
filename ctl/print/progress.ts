import { formatDuration, formatSize } from '../../ipc/values.ts';
import type { Io } from '../io.ts';
import { amount, bar, percent } from './bar.ts';
import type { Output } from './output.ts';
import { cut, joined, type Piece, type Safe, say } from './safe.ts';

/** How far something is. */
export interface Step {
  /** What is being done. */
  label: string;
  done?: number | undefined;
  total?: number | undefined;
  unit?: 'bytes' | 'entries' | 'steps' | undefined;
  note?: string | undefined;
}

/** One line on stderr that is drawn again and again, for people only. */
export interface ProgressLine {
  show(step: Step): void;
  /** Takes the line away. */
  clear(): void;
}

/** Nothing is drawn for what ends sooner: a swap needs no progress bar. */
const quietMs = 300;
/** A redraw costs a write: not more often than this. */
const redrawMs = 100;
const barColumns = 24;
const barColumnsMin = 8;
/** A longer name of a step is cut before remarks are left out. */
const labelColumnsMax = 36;

/** Speed of a step and what is left of its time, from its first sight on. */
function pace(step: Step, first: { atMs: number; done: number }, nowMs: number): Piece[] {
  const seconds = (nowMs - first.atMs) / 1000;
  const gained = (step.done ?? 0) - first.done;
  if (seconds < 1 || gained <= 0) return [];
  const speed = step.unit === 'bytes' ? [`${formatSize(gained / seconds)}/s`] : [];
  if (step.total === undefined || step.done === undefined || step.done >= step.total) return speed;
  const left = ((step.total - step.done) / gained) * (nowMs - first.atMs);
  return [...speed, `${formatDuration(Math.max(1000, left))} left`];
}

/**
 * One line for a step, at most `width` columns. What is being done matters most: the remarks after the
 * bar give way first, the last of them before the others, then the bar gets shorter.
 */
export function stepLine(step: Step, extra: readonly Piece[], out: Output, width: number): Safe {
  const { done, total, unit, note } = step;
  const share = done !== undefined && total ? done / total : undefined;
  const label = say`${step.label}`;
  const labelColumns = Math.min(label.width, labelColumnsMax);
  const remarks: Piece[] = [];
  if (done !== undefined && (unit !== undefined || total === undefined))
    remarks.push(amount(done, total, unit));
  remarks.push(...extra);
  if (note) remarks.push(cut(note, 40));
  for (;;) {
    const spare = width - labelColumns - joined(remarks, '  ').width - 12;
    if (spare < barColumnsMin && remarks.length > 0) {
      remarks.pop();
      continue;
    }
    const columns = Math.min(barColumns, Math.max(barColumnsMin, spare));
    const parts: Piece[] = share === undefined ? [] : [barText(share, columns, out)];
    const tail = joined([...parts, ...remarks], '  ');
    const room = Math.max(12, width - tail.width - 2);
    return tail.width === 0 ? cut(step.label, width) : say`${cut(step.label, room)}  ${tail}`;
  }
}

function barText(share: number, columns: number, out: Output): Safe {
  return say`${out.errStyle.cyan(bar(share, columns, out.unicode))} ${percent(share).padStart(5)}`;
}

/** The progress line of a call; draws nothing where nobody would see it. */
export function progressLine(io: Io, out: Output): ProgressLine {
  if (out.json || out.quiet || !io.err.terminal || io.env.TERM === 'dumb')
    return { show: () => {}, clear: () => {} };
  const startedMs = io.now();
  let drawnMs = 0;
  let shown = false;
  let first: { label: string; atMs: number; done: number } | undefined;
  return {
    show(step) {
      const now = io.now();
      if (first?.label !== step.label)
        first = { label: step.label, atMs: now, done: step.done ?? 0 };
      if (now - startedMs < quietMs || now - drawnMs < redrawMs) return;
      drawnMs = now;
      shown = true;
      const line = stepLine(step, pace(step, first, now), out, io.err.columns() - 3);
      io.err.write(`\r\x1b[2K${line.safe}`);
    },
    clear() {
      if (shown) io.err.write('\r\x1b[2K');
      shown = false;
    },
  };
}
