import { BadFact, checkFact } from '../fact-values.ts';
import { isRemark, type Problem, type SourceText } from '../fragment.ts';

/** A profile of tuned: how the whole machine may be set. It says nothing of one application. */
export interface Preset {
  name: string;
  summary: string;
  /** The profile that it goes on from. */
  include: string[];
  /** What it would set, by the names of its sections. Scripts are never run, and not among them. */
  sets: string[];
  from: string;
}

/** Understands the `tuned.conf` of one profile, called as its folder is. Pure. */
export function parseTunedProfile(
  { file, text }: Pick<SourceText, 'file' | 'text'>,
  name: string,
): { preset?: Preset; problems: Problem[] } {
  const problems: Problem[] = [];
  let section = '';
  let summary = '';
  const include: string[] = [];
  const sets = new Set<string>();
  for (const [index, line] of text.split('\n').entries()) {
    if (isRemark(line) || /^\s*;/.test(line)) continue;
    const from = `${file}:${index + 1}`;
    const header = /^\s*\[([\w.-]+)\]\s*$/.exec(line)?.[1];
    const [, key, value = ''] = /^\s*([^=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (header !== undefined) {
      section = header;
      if (header === 'script' || header.startsWith('script_'))
        problems.push({ from, text: 'scripts are never run: this section is left out' });
      else if (header !== 'main' && header !== 'variables') sets.add(header);
    } else if (key === undefined) {
      // Values of more than one line are indented.
      if (!/^\s/.test(line)) problems.push({ from, text: 'it is neither a section nor a value' });
    } else if (section === 'main' && key === 'summary') summary = value;
    else if (section === 'main' && key === 'include')
      include.push(...value.split(/[\s,;]+/).filter(Boolean));
  }
  try {
    const preset: Preset = {
      name: checkFact('name', name),
      summary: summary === '' ? '' : checkFact('name', summary.slice(0, 128)),
      include: [...checkFact('dependencies', include)],
      sets: [...checkFact('dependencies', [...sets].slice(0, 64))],
      from: file,
    };
    return { preset, problems };
  } catch (error) {
    if (!(error instanceof BadFact)) throw error;
    problems.push({ from: file, text: `something in it ${error.message}` });
    return { problems };
  }
}
