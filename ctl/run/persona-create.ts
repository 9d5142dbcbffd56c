import type { PersonaPage } from '../../ipc/methods/shapes.ts';
import { checkName, formatSize, isDigest } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { checkTarget, exportTo, type Written } from '../download.ts';
import { inputOf } from '../inputs.ts';
import { type Safe, say } from '../print/safe.ts';
import { usageError } from '../usage-error.ts';
import { personaLines } from './personas.ts';

/** "NAME=VALUE" words as a record. Throws `bad-usage`. */
function environmentOf(call: Call): Record<string, string> | undefined {
  const words = call.list('env');
  if (words.length === 0) return undefined;
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf('=');
      if (at < 1) {
        const reason = `--env needs NAME=VALUE, not "${word}"`;
        throw usageError(reason, call.command.name);
      }
      return [word.slice(0, at), word.slice(at + 1)];
    }),
  );
}

/** The inputs that were given, made readable for the daemon one after the other. */
async function inputsOf(call: Call) {
  const flags = {
    tree: 'from-tree',
    diff: 'diff',
    seed: 'seed',
    config: 'config',
    applications: 'applications',
  };
  const inputs: Partial<Record<keyof typeof flags, Awaited<ReturnType<typeof inputOf>>>> = {};
  for (const [name, flag] of Object.entries(flags) as [keyof typeof flags, string][]) {
    const path = call.text(flag);
    if (path !== undefined) inputs[name] = await inputOf(call, path);
  }
  return inputs;
}

/** Writes the file. When that fails the persona is there all the same, and is said to be. */
async function written(call: Call, persona: PersonaPage, path: string): Promise<Written> {
  try {
    return await exportTo(call, persona.digest, path, false);
  } catch (error) {
    call.out.note(
      say`Persona ${persona.name} is made and imported; only its file was not written. \`personactl persona export ${persona.name} -o FILE\` does that.`,
    );
    throw error;
  }
}

/** `personactl persona create`: made, imported, and written to a file when one is named. */
export async function create(call: Call): Promise<number | undefined> {
  const path = call.text('output');
  if (path !== undefined) await checkTarget(call, path, false);
  const environment = environmentOf(call);
  const description = call.text('description');
  const version = call.text('persona-version');
  // Before anything is sent.
  const name = call.name('NAME');
  const base = call.text('base') ?? '';
  if (!isDigest(base)) checkName(base);
  const params = {
    name,
    base,
    ...(await inputsOf(call)),
    ...(environment && { environment }),
    ...(description !== undefined && { description }),
    ...(version !== undefined && { version }),
    ...(call.has('yes') && { allowPrivileged: true }),
  };
  return runChange(call, 'persona.create', params, async (outcome) => {
    const { persona } = outcome.result;
    const file = path === undefined ? undefined : await written(call, persona, path);
    call.out.done({ ...outcome, ...(file && { file }) }, () => {
      const lines: Safe[] = [
        say`Persona ${call.out.style.bold(persona.name)} is made and imported.`,
      ];
      if (file) lines.push(say`Written to ${file.path}, ${formatSize(file.bytes)}.`);
      return [...lines, ...personaLines(persona, call).slice(1)];
    });
    return undefined;
  });
}
