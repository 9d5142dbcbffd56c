import type { Io, Sink } from '../../ctl/io.ts';
import { run } from '../../ctl/program.ts';
import { nowMs } from './samples.ts';

/** How the tool is called in a test. */
export interface Setting {
  /** PERSONA_ROOT. */
  root?: string;
  env?: Record<string, string>;
  /** Both streams are terminals. */
  terminal?: boolean;
  columns?: number;
  uid?: number;
  momentMs?: number;
  cwd?: string;
  /** What is typed where nobody sees it, one after the other. */
  typed?: string[];
  /** Gets the function that presses Ctrl-C. */
  interrupt?: (press: () => void) => void;
  /** Sees every write at once. */
  onWrite?: (text: string) => void;
}

/** What it answered. */
export interface Answered {
  status: number;
  out: string;
  err: string;
}

/** Runs the tool in this process, at a fixed time. */
export async function personactl(setting: Setting, ...argv: string[]): Promise<Answered> {
  const said = { out: '', err: '' };
  const sink = (name: 'out' | 'err'): Sink => ({
    write(text) {
      said[name] += text;
      setting.onWrite?.(text);
    },
    terminal: setting.terminal === true,
    columns: () => setting.columns ?? 100,
    flushed: () => true,
  });
  let ticks = 0;
  const io: Io = {
    out: sink('out'),
    err: sink('err'),
    env: { LANG: 'C.UTF-8', PERSONA_ROOT: setting.root ?? '/nonexistent', ...setting.env },
    cwd: () => setting.cwd ?? process.cwd(),
    uid: () => setting.uid ?? 0,
    // Tool and daemon share a process here, which others may keep waiting.
    momentMs: setting.momentMs ?? 60_000,
    // Time goes on by itself only where somebody watches.
    now: () => (setting.terminal ? nowMs + 200 * ticks++ : nowMs),
    secretLine: async (prompt) => {
      said.err += prompt;
      return Buffer.from(setting.typed?.shift() ?? '');
    },
    onInterrupt(heard) {
      setting.interrupt?.(heard);
      return () => {};
    },
  };
  return { status: await run(argv, io), ...said };
}
