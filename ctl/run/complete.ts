import type { Call } from '../call.ts';
import { type Command, type Completion, flagOf, globalFlags } from '../command.ts';
import { commands, findCommand } from '../commands.ts';
import { allBases, allPersonas } from '../lists.ts';
import { safe } from '../print/safe.ts';

/** A word that may come next, with what it means; ":file" and ":folder" leave it to the shell. */
type Candidate = readonly [word: string, meaning: string];

async function namesOf(
  call: Call,
  kind: Completion,
  slot: string | undefined,
): Promise<Candidate[]> {
  const client = await call.client();
  switch (kind) {
    case 'base':
      return (await allBases(client)).map((one) => [one.name, one.os?.title ?? '']);
    case 'persona':
      return (await allPersonas(client)).map((one) => [one.name, one.description ?? '']);
    case 'slot':
      return (await client.call('slot.list', {})).slots.map((one) => [
        one.name,
        one.active?.persona?.name ?? one.state,
      ]);
    case 'fast':
      return (await client.call('fast.list', {})).partitions.map((one) => [one.name, one.on]);
    case 'change':
      return (await client.call('change.list', {})).changes.map((one) => [
        String(one.id),
        one.summary,
      ]);
    case 'enclave':
      return (await client.call('enclave.list', {})).enclaves.map((one) => [one.name, one.state]);
    case 'key':
      return (await client.call('key.list', {})).keys.map((one) => [
        one.id,
        one.comment ?? one.state,
      ]);
    case 'generation':
      if (slot === undefined) return [];
      return (await client.call('slot.history', { slot })).generations.map((one) => [
        String(one.number),
        one.persona?.name ?? 'clean base',
      ]);
    default:
      return [];
  }
}

/** Names of the daemon, or nothing: a completion never fails and never waits long. */
async function names(call: Call, kind: Completion, slot?: string): Promise<Candidate[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Candidate[]>((resolve) => {
    timer = setTimeout(() => resolve([]), call.io.momentMs);
  });
  try {
    return await Promise.race([namesOf(call, kind, slot).catch(() => []), late]);
  } finally {
    clearTimeout(timer);
  }
}

function commandWords(before: readonly string[]): Candidate[] {
  const [first] = before;
  const known = commands().filter(({ group }) => group !== undefined);
  const spelled = known.flatMap(({ name, aliases = [], summary }) =>
    [name, ...aliases].map((one) => [one, summary] as const),
  );
  if (first !== undefined)
    return spelled
      .filter(([name]) => name.startsWith(`${first} `))
      .map(([name, summary]) => [name.slice(first.length + 1), summary]);
  const heads = new Map<string, string>();
  for (const [name, summary] of spelled) {
    const [head = '', verb] = name.split(' ');
    if (!heads.has(head)) heads.set(head, verb === undefined ? summary : `commands about ${head}`);
  }
  return [...heads];
}

function flagWords(command: Command, given: readonly string[]): Candidate[] {
  return [...command.flags, ...globalFlags]
    .filter(({ name, many }) => many || !given.includes(`--${name}`))
    .map(({ name, summary }) => [`--${name}`, summary]);
}

/** What may come after `before`, of which `typed` is the beginning. */
export async function candidates(
  call: Call,
  before: readonly string[],
  typed: string,
): Promise<Candidate[]> {
  const plain = before.filter((word) => !word.startsWith('-'));
  const found = findCommand(plain);
  if (found === undefined) return typed.startsWith('-') ? [] : commandWords(plain);
  const { command, used } = found;
  if (before.includes('--')) return [];
  const last = before.at(-1) ?? '';
  const open = last.startsWith('--') ? flagOf(command, last.slice(2)) : undefined;
  const operands = operandWords(command, before, used);
  const kindWords = async (kind: Completion | undefined, choices?: readonly string[]) => {
    if (choices) return choices.map((word): Candidate => [word, '']);
    if (kind === 'file' || kind === 'folder') return [[`:${kind}`, '']] as Candidate[];
    if (kind === 'command') return commandWords([]);
    return kind === undefined ? [] : names(call, kind, operands[0]);
  };
  if (open?.value !== undefined) return kindWords(open.complete, open.choices);
  if (typed.startsWith('-')) return flagWords(command, before);
  const operand = command.operands[operands.length];
  if (command.name === 'persona diff' && operand) return bothKinds(call);
  return operand ? kindWords(operand.complete, operand.choices) : [];
}

/** A persona can be compared with a base, too. */
async function bothKinds(call: Call): Promise<Candidate[]> {
  return [...(await names(call, 'persona')), ...(await names(call, 'base'))];
}

/** The operands among the words of a line. */
function operandWords(command: Command, before: readonly string[], used: number): string[] {
  const operands: string[] = [];
  let skip = used;
  for (let at = 0; at < before.length; at += 1) {
    const word = before[at] ?? '';
    if (word.startsWith('-')) {
      const flag = command.flags.find(
        ({ name, short }) => word === `--${name}` || word === `-${short}`,
      );
      if (flag?.value !== undefined) at += 1;
    } else if (skip > 0) skip -= 1;
    else operands.push(word);
  }
  return operands;
}

/** `personactl __complete -- WORD...`: the words of the line after the program; the last is being typed. */
export async function complete(call: Call): Promise<undefined> {
  const before = call.rest.slice(0, -1);
  const typed = call.rest.at(-1) ?? '';
  const words = await candidates(call, before, typed);
  const fitting = words.filter(([word]) => word.startsWith(':') || word.startsWith(typed));
  call.io.out.write(
    fitting.map(([word, meaning]) => `${safe(word).safe}\t${safe(meaning).safe}\n`).join(''),
  );
}
