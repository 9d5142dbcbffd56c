import type { BasePage } from '../../ipc/methods/shapes.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { allBases } from '../lists.ts';
import { columns, facts, indented } from '../print/columns.ts';
import { type Safe, say } from '../print/safe.ts';
import { ago, moment, shortDigest } from '../print/time.ts';

const titles = [
  { title: 'BASE' },
  { title: 'SIZE', side: 'right' as const },
  ...['SYSTEM', 'FROM', 'USED BY', 'IMPORTED', 'DIGEST'].map((title) => ({ title })),
];

/** "3 personas, 1 slot"; nothing when unused. */
function usersOf({ usedBy }: BasePage): string {
  const count = (list: readonly string[], name: string) =>
    list.length === 0 ? [] : [`${list.length} ${name}${list.length === 1 ? '' : 's'}`];
  return [...count(usedBy.personas, 'persona'), ...count(usedBy.slots, 'slot')].join(', ');
}

function systemOf({ os }: BasePage): string {
  return os?.title ?? [os?.id, os?.version].filter((one) => one !== undefined).join(' ');
}

/** `personactl base list` */
export async function list(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = { bases: await allBases(client) };
  call.out.result(answer, () => {
    if (answer.bases.length === 0) {
      call.out.note(say`No bases yet: \`personactl base import NAME --from PATH\` makes one.`);
      return [];
    }
    const rows = answer.bases.map((base) => [
      call.out.style.bold(base.name),
      formatSize(base.bytes),
      systemOf(base),
      base.source,
      usersOf(base),
      ago(base.importedMs, call.io.now()),
      call.out.style.dim(shortDigest(base.digest)),
    ]);
    return columns(titles, rows, call.out.style);
  });
}

function pageLines(base: BasePage, { out }: Call): Safe[] {
  const { personas, slots } = base.usedBy;
  return [
    out.style.bold(base.name),
    ...indented(
      facts(
        [
          ['system', systemOf(base) || undefined],
          ['size', formatSize(base.bytes)],
          ['entries', base.entries],
          ['from', base.source],
          ['imported', moment(base.importedMs)],
          ['digest', base.digest],
          ['personas', personas.length > 0 ? personas.join(', ') : undefined],
          ['slots', slots.length > 0 ? slots.join(', ') : undefined],
        ],
        out.style,
      ),
    ),
  ];
}

/** `personactl base show` */
export async function show(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('base.show', { base: call.reference('BASE') });
  call.out.result(answer, () => pageLines(answer.base, call));
}

/** `personactl base rm` */
export async function remove(call: Call): Promise<number | undefined> {
  return runChange(call, 'base.rm', { base: call.reference('BASE') }, (outcome) => {
    const { name, freedBytes } = outcome.result;
    call.out.done(outcome, () => [say`Removed base ${name}, ${formatSize(freedBytes)} freed.`]);
    return undefined;
  });
}
