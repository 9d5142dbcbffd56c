/**
 * The program that works on a user's folders as that user: reads them into memory, and writes back what a program has changed there. Its
 * standard input is a `Task` and then an `Ask` in each line, its standard output an `Answer` in each.
 */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { becomeCaller } from './kernel/become-caller.ts';
import { speedOf } from './kernel/disk-speed.ts';
import { failedWith } from './kernel/errno.ts';
import { Fd } from './kernel/fd.ts';
import { Freezer } from './kernel/freezer.ts';
import { openFolder, openOrMakeFolder } from './kernel/openat.ts';
import { takeFiles } from './kernel/passed-files.ts';
import { forgetBase } from './writeback/base-record.ts';
import { readBase } from './writeback/fill.ts';
import { FolderDisk } from './writeback/folder-disk.ts';
import { type Recovered, recoverBox } from './writeback/generations.ts';
import { isGone } from './writeback/memory-folder.ts';
import { Late, ServedFolder, takeQuiet } from './writeback/served-folder.ts';
import { type Answer, type Ask, STOPPING, type Task } from './writeback/talk.ts';

function tell(answer: Answer): void {
  writeSync(1, `${JSON.stringify(answer)}\n`);
}

/** The folders of a task, opened by descriptors: what is renamed or replaced meanwhile leads nowhere else. */
class Writer {
  readonly #task: Task;
  readonly #home: Fd;
  /** Through it come the open files of groups that may be stopped. */
  readonly #channel = new Fd(3, 'the channel of files');
  #freezer: Freezer | undefined;
  /** All folders of the task: none is written back without the others. */
  #opened: ServedFolder[] | undefined;

  constructor(task: Task) {
    this.#task = task;
    this.#home = openFolder(task.home);
  }

  #parentOf(path: string): { parent: Fd; name: string } {
    const slash = path.lastIndexOf('/');
    openOrMakeFolder(this.#home, path).close();
    const parent = openOrMakeFolder(this.#home, path.slice(0, Math.max(slash, 0)));
    return { parent, name: path.slice(slash + 1) };
  }

  get #folders(): ServedFolder[] {
    if (this.#opened === undefined) throw new Error('its folders are not open in memory');
    return this.#opened;
  }

  async answer(ask: Ask): Promise<Answer> {
    switch (ask.do) {
      case 'measure':
        return this.#measure();
      case 'verify':
        return { said: 'verified', same: this.#folders.every((one) => one.isSame()) ? 1 : 0 };
      case 'open':
        return this.#open(ask);
      case 'stops':
        this.#freezer?.close();
        this.#freezer = new Freezer(ask.versions, takeFiles(this.#channel, 'a freezer'));
        return { said: 'ready' };
      case 'prepare':
        for (const folder of this.#folders) folder.prepare();
        return { said: 'prepared', onFuse: this.#folders.some((one) => one.isOnFuse) ? 1 : 0 };
      case 'take':
        return this.#take(ask);
      case 'save':
        return this.#save(ask.takenMs);
      case 'time':
        return { said: 'timed', ...(await speedOf(`/proc/self/fd/${this.#home.number}`)) };
      case 'finish':
        return this.#finish(ask.memory);
    }
  }

  #measure(): Answer {
    const total = { said: 'measured' as const, names: 0, bytes: 0 };
    for (const { path } of this.#task.folders) {
      using folder = openOrMakeFolder(this.#home, path);
      for (const { size, type } of readBase(folder).base.values()) {
        total.names += 1;
        if (type === 'file') total.bytes += size;
      }
    }
    return total;
  }

  #open({ memory: place, fill }: Extract<Ask, { do: 'open' }>): Answer {
    const total = { said: 'opened' as const, files: 0, bytes: 0, skipped: 0 };
    using memory = openFolder(place);
    const opened: ServedFolder[] = [];
    for (const [index, { path }] of this.#task.folders.entries()) {
      const folder = new ServedFolder({
        ...this.#parentOf(path),
        place: openOrMakeFolder(memory, String(index)),
      });
      opened.push(folder);
      const { files, bytes, skipped } = fill ? folder.fill() : folder.takeUp();
      total.files += files;
      total.bytes += bytes;
      total.skipped += skipped;
    }
    this.#opened = opened;
    return total;
  }

  #take({ mapped, freeze }: Extract<Ask, { do: 'take' }>): Answer {
    const freezer = freeze ? this.#freezer : undefined;
    const { frozenMsMax } = this.#task;
    const begun = performance.now();
    try {
      if (freezer) tell(STOPPING);
      freezer?.freeze(frozenMsMax);
      const untilMs = freezer ? begun + frozenMsMax : Number.POSITIVE_INFINITY;
      for (const folder of this.#folders) folder.take(mapped, untilMs);
      // Also where nobody runs as far as is known: one that was not seen would leave half of what it does.
      if (!freezer) takeQuiet(this.#folders);
    } catch (error) {
      if (error instanceof Late || failedWith(error, 'ETIMEDOUT')) return { said: 'late' };
      throw error;
    } finally {
      freezer?.thaw();
    }
    return { said: 'taken', frozenMs: freezer ? performance.now() - begun : 0 };
  }

  #save(takenMs: number): Answer {
    const total = { said: 'saved' as const, files: 0, bytes: 0 };
    for (const folder of this.#folders) {
      const { files = 0, bytes = 0 } = folder.save(takenMs) ?? {};
      total.files += files;
      total.bytes += bytes;
    }
    return total;
  }

  #finish(memory?: string): Answer {
    if (memory !== undefined) this.#forgetBase(memory);
    const all: Recovered[] =
      this.#opened?.map((folder) => folder.finish()) ??
      this.#task.folders.map(({ path }) => this.#recover(path));
    const takenMs = Math.max(...all.map((one) => one.takenMs ?? 0));
    return {
      said: 'finished',
      kept: all.reduce((sum, { kept }) => sum + kept.length, 0),
      stayed: all.reduce((sum, { stayed }) => sum + stayed.length, 0),
      ...(takenMs > 0 ? { takenMs } : {}),
    };
  }

  /** Before anything is changed there: what was written down of the folders on the disk is true no more. */
  #forgetBase(place: string): void {
    for (const index of this.#task.folders.keys())
      try {
        using folder = openFolder(`${place}/${index}`);
        forgetBase(folder);
      } catch (error) {
        // Where memory has gone, nobody takes it up.
        if (!isGone(error) && !failedWith(error, 'EACCES')) throw error;
      }
  }

  #recover(path: string): Recovered {
    const { parent, name } = this.#parentOf(path);
    const disk = new FolderDisk(parent, name);
    try {
      return recoverBox(disk);
    } finally {
      disk.close();
      parent.close();
    }
  }
}

let writer: Writer | undefined;
for await (const line of createInterface({ input: process.stdin })) {
  try {
    if (writer === undefined) {
      const task = JSON.parse(line) as Task;
      // It thaws what it has frozen, also when the daemon is killed; then its input ends, and so does it.
      becomeCaller(task.caller, { outlives: true });
      writer = new Writer(task);
    } else tell(await writer.answer(JSON.parse(line) as Ask));
  } catch (error) {
    tell({ said: 'failed', problem: String((error as Error)?.message ?? error) });
  }
}
