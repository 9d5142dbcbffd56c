/**
 * The program that reads what is known of applications: lists of packages as nobody, a user's own files as that user. Its
 * standard input is one JSON object (`SurveyTask`), its standard output pieces of a `Survey`, one in a line.
 */
import { readFileSync, writeSync } from 'node:fs';
import { becomeCaller } from './kernel/become-caller.ts';
import { readTexts } from './kernel/bounded-files.ts';
import { failedWith } from './kernel/errno.ts';
import type { Fd } from './kernel/fd.ts';
import { installedProgram } from './kernel/installed-programs.ts';
import { openFolder } from './kernel/openat.ts';
import type { SurveyTask } from './kernel/survey-child.ts';
import { type Survey, surveyMachine, surveyUser, type View } from './profiles/survey.ts';

/** Entries of one line: what the daemon understands without losing its turn. */
const LINE_ENTRIES = 256;

function openIfThere(path: string): Fd | undefined {
  try {
    return openFolder(path);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function write(piece: object): void {
  const bytes = Buffer.from(`${JSON.stringify(piece)}\n`);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      if (!failedWith(error, 'EAGAIN')) throw error;
      // A full pipe: the descriptor may be non-blocking when the daemon's end is.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    }
  }
}

function tell({ fragments, entries, programs, ...rest }: Survey): void {
  for (const [name, list] of Object.entries({ fragments, entries, programs }))
    for (let at = 0; at < list.length; at += LINE_ENTRIES)
      write({ [name]: list.slice(at, at + LINE_ENTRIES) });
  write(rest);
}

const task = JSON.parse(readFileSync(0, 'utf8')) as SurveyTask;
// The folders are the daemon's to name; what lies in them is seen only with the rights that are left.
const machine = openFolder(task.machine);
const trees = { machine, share: openIfThere(task.share), etc: openIfThere(task.etc) };
becomeCaller(task.caller);
const view: View = {
  read(tree, folder, rules, take) {
    const root = trees[tree];
    return root === undefined ? [] : readTexts(root, folder, rules, take);
  },
  program: (pathOrName) => installedProgram(machine, pathOrName),
};
tell(
  task.user === undefined
    ? surveyMachine(view, task.owner, task.paths)
    : surveyUser(view, task.user, task.paths),
);
