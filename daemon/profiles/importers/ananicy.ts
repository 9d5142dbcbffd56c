import type { CpuNeed } from '../application.ts';
import { checkFact } from '../fact-values.ts';
import { type Found, type Fragment, isRemark, type SourceText, type Values } from '../fragment.ts';

/** Rules go by bare names, and are collected by many hands. */
const confidence = 0.4;
/** From here on a program is to stand behind others. */
const NICE_BEHIND = 5;

/** What is said of a process or of a type of processes; other words of the rules say nothing here. */
interface Rule {
  name?: unknown;
  type?: unknown;
  nice?: unknown;
  ioclass?: unknown;
}

/** The lines that are rules, as they were understood; others are told. */
function rulesOf({ file, text }: SourceText, { problems }: Found): { rule: Rule; from: string }[] {
  const rules: { rule: Rule; from: string }[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (isRemark(line)) continue;
    const from = `${file}:${index + 1}`;
    try {
      const rule: unknown = JSON.parse(line);
      if (typeof rule === 'object' && rule !== null && !Array.isArray(rule))
        rules.push({ rule, from });
      else problems.push({ from, text: 'it is no JSON object' });
    } catch {
      problems.push({ from, text: 'it is no JSON' });
    }
  }
  return rules;
}

const cpuOf = ({ nice, ioclass }: Rule): CpuNeed | undefined => {
  if (ioclass === 'idle' || (typeof nice === 'number' && nice >= NICE_BEHIND)) return 'background';
  return typeof nice === 'number' && nice < 0 ? 'high' : undefined;
};

/** The types that a text of types declares, each with what it means for a process. */
export function parseAnanicyTypes(source: SourceText): { types: Map<string, Rule> } & Found {
  const found: Found = { fragments: [], problems: [] };
  const types = new Map<string, Rule>();
  for (const { rule, from } of rulesOf(source, found)) {
    if (typeof rule.type === 'string') types.set(rule.type, rule);
    else found.problems.push({ from, text: 'a type has no name' });
  }
  return { types, ...found };
}

/** Games read much at their start, and are proposed for `fast`; no rule may decide that. */
function valuesOf(rule: Rule, type: Rule | undefined): Values {
  const cpu = cpuOf({ ...type, ...rule });
  return {
    ...(cpu === undefined ? {} : { cpu }),
    ...(rule.type === 'Game' ? { profile: 'fast' as const } : {}),
  };
}

/** Understands rules of ananicy: one JSON object in a line, each about processes of a name. Pure. */
export function parseAnanicyRules(source: SourceText, types: ReadonlyMap<string, Rule>): Found {
  const found: Found = { fragments: [], problems: [] };
  const { dateMs } = source;
  for (const { rule, from } of rulesOf(source, found)) {
    const problem = whatIsWrong(rule, types);
    if (problem !== undefined) {
      found.problems.push({ from, text: problem });
      continue;
    }
    const name = rule.name as string;
    const values = valuesOf(rule, types.get(rule.type as string));
    const fragment: Fragment = {
      of: { name },
      source: 'imported',
      from,
      confidence,
      dateMs,
      values,
    };
    found.fragments.push(fragment);
  }
  return found;
}

function whatIsWrong(rule: Rule, types: ReadonlyMap<string, Rule>): string | undefined {
  try {
    checkFact('name', rule.name);
  } catch {
    return 'it names no process';
  }
  if (rule.type === undefined || types.has(rule.type as string)) return undefined;
  return `its type ${JSON.stringify(rule.type)} is not declared`;
}
