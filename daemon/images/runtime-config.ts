import * as v from 'valibot';
import { PersonaError } from '../../ipc/errors.ts';
import { parseStrictJson } from './canonical-json.ts';
import type { Entry } from './entry.ts';
import { checkPath } from './entry-grammar.ts';
import { environmentFile, environmentProblem } from './environment.ts';
import { parentOf } from './order.ts';
import { ospBytesMax, ospMembers } from './osp-members.ts';
import { arrangeEntries, type Tree, treeOf } from './tree.ts';

/** One file that the runtime configuration puts into the tree, owned by root. */
export interface RuntimeFile {
  /** Path inside the tree, byte string as in an entry. */
  path: string;
  mode: number;
  content: Buffer;
}

/** What of runtime_config.json is realised. */
export interface RuntimeConfig {
  environment: Record<string, string>;
  files: RuntimeFile[];
}

const filesMax = 1000;
const contentBytesMax = 4 * 1024 * 1024;
const variablesMax = 1000;

/** Where a booted system finds the variables; programs started by `exec` get them directly. */
const environmentPath = 'etc/environment.d/90-persona.conf';

const fileSchema = v.strictObject({
  path: v.string(),
  mode: v.optional(v.pipe(v.string(), v.regex(/^0?[0-7]{3}$/, 'not a mode like 0644'))),
  content: v.optional(v.string()),
  content_base64: v.optional(v.pipe(v.string(), v.base64())),
});

/** Known keys are checked; of the others only their emptiness is. */
const schema = v.looseObject({
  environment: v.optional(v.record(v.string(), v.string())),
  files: v.optional(v.pipe(v.array(fileSchema), v.maxLength(filesMax))),
});

/**
 * Reads runtime_config.json strictly.
 * @throws PersonaError 'bad-persona' when it is wrong; 'not-supported' when it asks for more than
 *   variables and plain files (services, registry keys, sysctls ...).
 */
export function parseRuntimeConfig(bytes: Buffer): RuntimeConfig {
  if (bytes.length > ospBytesMax[ospMembers.runtime]) throw bad('is too large');
  const parsed = parseStrictJson(bytes);
  if ('problem' in parsed) throw bad(parsed.problem);
  // A list has keys too, and would pass for an object.
  if (Array.isArray(parsed.value)) throw bad('is a list, not an object');
  const result = v.safeParse(schema, parsed.value, { abortEarly: true });
  if (!result.success) {
    const [issue] = result.issues;
    throw bad(`is wrong at ${v.getDotPath(issue) ?? 'its top'} (${issue.message.slice(0, 200)})`);
  }
  const { environment = {}, files = [], ...others } = result.output;
  for (const [key, value] of Object.entries(others)) {
    if (isEmpty(value)) continue;
    throw new PersonaError('not-supported', {
      what: `${JSON.stringify(key.slice(0, 100))} in ${ospMembers.runtime}`,
    });
  }
  checkEnvironment(environment);
  return { environment, files: runtimeFiles(files) };
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === '' || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

function checkEnvironment(environment: Record<string, string>): void {
  const names = Object.keys(environment);
  if (names.length > variablesMax) throw bad(`sets over ${variablesMax} variables`);
  for (const name of names) {
    const problem = environmentProblem(name, environment[name] ?? '');
    if (problem === undefined) continue;
    throw bad(`cannot set ${JSON.stringify(name.slice(0, 100))}: ${problem}`);
  }
}

function runtimeFiles(files: v.InferOutput<typeof fileSchema>[]): RuntimeFile[] {
  const taken = new Map<string, RuntimeFile>();
  for (const file of files) {
    const path = treePath(file.path);
    if (taken.has(path)) throw bad(`has the file ${JSON.stringify(file.path)} twice`);
    if ((file.content === undefined) === (file.content_base64 === undefined)) {
      throw bad(`needs one of content and content_base64 for ${JSON.stringify(file.path)}`);
    }
    const content =
      file.content !== undefined
        ? Buffer.from(file.content, 'utf8')
        : Buffer.from(file.content_base64 ?? '', 'base64');
    if (content.length > contentBytesMax) throw bad(`has a file over ${contentBytesMax} bytes`);
    taken.set(path, { path, mode: Number.parseInt(file.mode ?? '0644', 8), content });
  }
  for (const path of taken.keys()) checkNotBelow(path, taken);
  return [...taken.values()];
}

function checkNotBelow(path: string, taken: ReadonlyMap<string, RuntimeFile>): void {
  for (let folder = parentOf(path); folder !== ''; folder = parentOf(folder)) {
    if (taken.has(folder)) throw bad(`has ${JSON.stringify(path)} below a file`);
  }
}

/** "/etc/motd" as a path of an entry: absolute, plain, UTF-8 taken as bytes. */
function treePath(text: string): string {
  if (!text.startsWith('/') || !text.isWellFormed()) {
    throw bad(`has a file whose path is not absolute: ${JSON.stringify(text.slice(0, 200))}`);
  }
  const path = Buffer.from(text.slice(1), 'utf8').toString('latin1');
  if (path === '') throw bad('has a file without a name');
  try {
    checkPath(path);
  } catch (error) {
    throw bad(`has a wrong path: ${(error as Error).message}`);
  }
  return path;
}

/**
 * The tree of the configuration layer: the plain files, and the variables for a booted system. All
 * of root, time 0: the same configuration gives the same layer. Folders are made as needed; what
 * they look like in the end is the lower layers' matter (see `settleOn`).
 */
export function runtimeTree(config: RuntimeConfig): Tree {
  const files = new Map(config.files.map((file) => [file.path, file]));
  if (Object.keys(config.environment).length > 0 && !files.has(environmentPath)) {
    const content = Buffer.from(environmentFile(config.environment), 'utf8');
    files.set(environmentPath, { path: environmentPath, mode: 0o644, content });
  }
  const entries = new Map<string, Entry>([['', folder('')]]);
  for (const { path, mode, content } of files.values()) {
    for (let up = parentOf(path); up !== ''; up = parentOf(up)) entries.set(up, folder(up));
    entries.set(path, { ...plain, path, type: 'file', mode, size: content.length });
  }
  return treeOf(arrangeEntries([...entries.values()]), async function* (entry) {
    const content = files.get(entry.path)?.content;
    if (content !== undefined && content.length > 0) yield content;
  });
}

const plain = { uid: 0, gid: 0, mtime: 0, mtimeNs: 0, xattrs: [] };

function folder(path: string): Entry {
  return { ...plain, path, type: 'dir', mode: 0o755, xattrs: [] };
}

function bad(reason: string): PersonaError {
  return new PersonaError('bad-persona', `${ospMembers.runtime} ${reason}`);
}
