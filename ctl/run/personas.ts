import { exitStatus } from '../../ipc/errors.ts';
import type { PersonaPage } from '../../ipc/methods/shapes.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { allPersonas } from '../lists.ts';
import { columns, facts, indented } from '../print/columns.ts';
import { type Safe, say } from '../print/safe.ts';
import type { Style } from '../print/style.ts';
import { ago, moment, shortDigest } from '../print/time.ts';

const titles = [
  { title: 'PERSONA' },
  { title: 'BASE' },
  { title: 'SIZE', side: 'right' as const },
  ...['SIGNED', 'ACTIVE IN', 'IMPORTED', 'DIGEST'].map((title) => ({ title })),
];

const signedBy = {
  own: 'here',
  trusted: 'trusted key',
  unknown: 'unknown key',
  revoked: 'revoked key',
  none: 'not signed',
} as const;

function signature({ signature: { state } }: PersonaPage, style: Style): Safe {
  const paint =
    state === 'revoked'
      ? style.red
      : state === 'own' || state === 'trusted'
        ? style.green
        : style.yellow;
  return paint(signedBy[state]);
}

/** `personactl persona list` */
export async function list(call: Call): Promise<undefined> {
  const client = await call.client();
  const { style } = call.out;
  const answer = { personas: await allPersonas(client) };
  call.out.result(answer, () => {
    if (answer.personas.length === 0) {
      call.out.note(say`No personas yet: see \`personactl help persona create\`.`);
      return [];
    }
    const rows = answer.personas.map((one) => [
      style.bold(one.name),
      one.base.name ?? shortDigest(one.base.digest),
      formatSize(one.bytes),
      signature(one, style),
      style.cyan(one.usedBy.slots.join(', ')),
      ago(one.importedMs, call.io.now()),
      style.dim(shortDigest(one.digest)),
    ]);
    return columns(titles, rows, style);
  });
}

/** Privileged entries that are named before "and N more". */
const privilegedShown = 8;

function privilegedText(entries: readonly string[] | undefined): string | undefined {
  if (entries === undefined || entries.length === 0) return undefined;
  const more = entries.length - privilegedShown;
  const named = entries.slice(0, privilegedShown).join(', ');
  return more > 0 ? `${named} and ${more} more` : named;
}

/** A persona's page. */
export function personaLines(persona: PersonaPage, { out }: Call): Safe[] {
  const { style } = out;
  const { key, origin } = persona.signature;
  const layers = persona.layers.map(
    (layer) =>
      say`${layer.kind} ${formatSize(layer.bytes)} ${style.dim(shortDigest(layer.digest))}`,
  );
  const variables = Object.entries(persona.environment ?? {});
  return [
    style.bold(persona.name),
    ...indented([
      ...facts(
        [
          ['description', persona.description],
          ['version', persona.version],
          ['base', persona.base.name ?? persona.base.digest],
          ['size', formatSize(persona.bytes)],
          [
            'signed',
            say`${signature(persona, style)}${key ? ` ${key}` : ''}${origin ? `, ${origin}` : ''}`,
          ],
          ['creator', persona.creator],
          ['created', persona.createdMs === undefined ? undefined : moment(persona.createdMs)],
          ['imported', moment(persona.importedMs)],
          ['active in', persona.usedBy.slots.join(', ') || undefined],
          ['digest', persona.digest],
          ['came as', persona.originDigest],
          ['privileged', privilegedText(persona.privileged)],
          [
            'variables',
            variables.map(([name, value]) => `${name}=${value}`).join(' ') || undefined,
          ],
        ],
        style,
      ),
      ...(layers.length > 0 ? [style.dim('layers'), ...indented(layers)] : []),
    ]),
  ];
}

/** `personactl persona show` */
export async function show(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('persona.show', { persona: call.reference('PERSONA') });
  call.out.result(answer, () => personaLines(answer.persona, call));
}

/** `personactl persona verify`: status 8 when something is wrong. */
export async function verify(call: Call): Promise<number | undefined> {
  const persona = call.reference('PERSONA');
  const { style } = call.out;
  return runChange(call, 'persona.verify', { persona }, (outcome) => {
    const { ok, checks } = outcome.result;
    call.out.result(outcome, () => [
      ...checks.map((one) => {
        const mark = one.ok ? style.green('ok   ') : style.red('wrong');
        return say`${mark}  ${one.what}  ${style.dim(one.detail)}`;
      }),
      ok ? style.green(say`${persona} is as it was made.`) : style.red(verdict(persona, checks)),
    ]);
    return ok ? exitStatus.ok : exitStatus.integrity;
  });
}

/** A signature that is not accepted any more says nothing against the bytes. */
function verdict(persona: string, checks: readonly { what: string; ok: boolean }[]): Safe {
  const wrong = checks.filter(({ ok }) => !ok).map(({ what }) => what);
  return wrong.every((what) => what === 'the signature')
    ? say`${persona} is whole, and its signature is not accepted here.`
    : say`${persona} is damaged.`;
}

/** `personactl persona rm` */
export async function remove(call: Call): Promise<number | undefined> {
  return runChange(call, 'persona.rm', { persona: call.reference('PERSONA') }, (outcome) => {
    const { name, freedBytes } = outcome.result;
    call.out.done(outcome, () => [say`Removed persona ${name}, ${formatSize(freedBytes)} freed.`]);
    return undefined;
  });
}
