import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import type { Machine } from '../../scripts/machine/machine.ts';
import type { State } from '../power-cut/ledger.ts';
import { when } from '../support/needs.ts';
import { answerOf, program, putPrograms } from './support/guest-programs.ts';
import { slowMs } from './support/slots.ts';
import { bootVm, needsVm } from './support/vm.ts';

// The plug of a whole machine is pulled while it works; it starts again, cold, with what its disk had kept. The moments
// are random; test/power-cut looks at many more of them, on a recorded disk.

/** Cold boots. `SYSTEM_POWER_CUTS=20` looks longer. */
const rounds = Number(process.env.SYSTEM_POWER_CUTS ?? 8);
/** The power fails within this time after the first request: a whole turn of all kinds of work, emulated. */
const cutWithinMs = 25_000;

/** What the host has heard: the last answer for each thing, and what was asked and not answered yet. */
class Heard {
  readonly sure = new Map<string, State>();
  readonly open = new Set<string>();
  /** Every note that was ever seen, by name, and the digest of each persona's tree. */
  readonly notes = new Map<string, string>();
  readonly trees = new Map<string, string>();
  readonly #asked = new Map<number, string>();
  #rest = '';
  begun = false;

  hear(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines.filter(Boolean)) this.#line(JSON.parse(line));
  }

  #line({ id, thing, after }: { id: number; thing?: string; after?: State }): void {
    this.begun = true;
    if (thing !== undefined) {
      this.#asked.set(id, thing);
      this.open.add(thing);
      return;
    }
    const answered = this.#asked.get(id) ?? '';
    this.open.delete(answered);
    this.#learn(answered, after ?? null);
  }

  #learn(thing: string, state: State): void {
    this.sure.set(thing, state);
    const { persona, digest, notes = {} } = (state ?? {}) as Shown;
    if (typeof persona === 'string' && digest !== undefined) this.trees.set(persona, digest);
    for (const [name, content] of Object.entries(notes)) this.notes.set(name, content);
  }

  /** The power has failed: what was found is what is so from now on. */
  settle(found: ReadonlyMap<string, State>): void {
    this.open.clear();
    this.#asked.clear();
    this.#rest = '';
    this.begun = false;
    this.sure.clear();
    for (const [thing, state] of found) this.#learn(thing, state);
  }

  /** What is wrong with what was found. */
  judge(found: ReadonlyMap<string, State>): string[] {
    const faults: string[] = [];
    for (const thing of new Set([...this.sure.keys(), ...found.keys()])) {
      const [state, before] = [found.get(thing) ?? null, this.sure.get(thing) ?? null];
      if (isDeepStrictEqual(state, before)) continue;
      const wrong = this.open.has(thing) ? this.#unfinished(thing, state) : 'nobody asked for that';
      if (wrong !== undefined)
        faults.push(
          `${thing} is ${JSON.stringify(state)}, was ${JSON.stringify(before)}: ${wrong}`,
        );
    }
    return faults;
  }

  /** What was asked and not answered is there whole or not at all: a tree of known bytes, with notes of known bytes. */
  #unfinished(thing: string, state: State): string | undefined {
    if (state === null || !thing.startsWith('slot:')) return undefined;
    const { persona, digest = '', notes = {} } = state as Shown;
    if (persona === null) return undefined;
    const whole = this.trees.get(String(persona));
    if (whole !== undefined && whole !== digest) return 'its tree is not the one of the persona';
    for (const [name, content] of Object.entries(notes))
      if ((this.notes.get(name) ?? content) !== content) return `the note ${name} is another`;
    return undefined;
  }
}

interface Shown {
  persona?: unknown;
  digest?: string;
  notes?: Record<string, string>;
}

async function work(vm: Machine, heard: Heard, ...words: string[]): Promise<void> {
  await vm.must([...program('work'), ...words], {
    deadlineMs: slowMs,
    onOutput: (stream, bytes) => {
      if (stream === 'out') heard.hear(bytes.toString());
    },
  });
}

async function look(vm: Machine): Promise<{ things: Map<string, State>; faults: string[] }> {
  const { things, faults } = await answerOf<{ things: Record<string, State>; faults: string[] }>(
    vm,
    program('look'),
    { deadlineMs: slowMs },
  );
  return { things: new Map(Object.entries(things)), faults };
}

when(test, needsVm)('the plug is pulled, and everything is whole', async (t) => {
  t.timeout(15 * 60_000 + rounds * 4 * 60_000);
  const vm = await bootVm(t, { suite: 'trixie', snapshot: true });
  await putPrograms(vm, 'work', 'look');
  const heard = new Heard();
  await work(vm, heard, 'furnish');
  await vm.must('sync'); // the trees that personas are made of, which are no part of what is tested
  heard.settle((await look(vm)).things);
  for (let round = 1; round <= rounds; round += 1) {
    const working = work(vm, heard, 'on', `r${round}`);
    const ended = working.then(
      () => 'it ended by itself',
      (error: Error) => error.message,
    );
    for (const deadline = performance.now() + slowMs; !heard.begun; await pause(20))
      if (performance.now() > deadline) return t.fail('the work did not begin');
    const afterMs = Math.random() * cutWithinMs;
    await pause(afterMs);
    await vm.cut();
    t.regex(await ended, /went away/);
    const open = [...heard.open];
    await vm.boot();
    t.is(vm.state, 'running');
    const found = await look(vm);
    t.log(`round ${round}: cut after ${(afterMs / 1000).toFixed(1)} s, during ${open.join(', ')}`);
    t.deepEqual([...found.faults, ...heard.judge(found.things)], [], `round ${round}`);
    heard.settle(found.things);
  }
});
