import { PersonaError } from '../../ipc/errors.ts';
import type { Answer } from '../../ipc/methods/index.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Request, Rooms } from '../api/rooms.ts';
import type { ChangeView } from '../changes/change.ts';
import type { Engine } from '../changes/engine.ts';
import type { Log } from '../changes/log.ts';
import { isStuck } from '../changes/status.ts';
import type { AnyTask } from '../changes/task.ts';
import type { Settings } from '../config/settings.ts';
import { bootId } from '../kernel/clock.ts';
import type { BootState } from '../kernel/secure-boot.ts';
import { type KeptFile, keptFiles } from '../personas/kept-files.ts';
import type { PersonasRoom } from '../personas/room.ts';
import { Scrub } from '../personas/scrub.ts';
import { planScrub, scrubTask } from '../personas/scrub-change.ts';
import type { SlotRoom } from '../personas/slot-room.ts';
import { bootCheck, bootText } from '../system/boot-policy.ts';
import type { Check } from '../system/doctor.ts';

/** What integrity is made from. */
export interface IntegrityParts {
  personas: PersonasRoom;
  slots: SlotRoom;
  settings: Settings;
  log: Log;
  boot: BootState;
  /** Why nothing may be changed on a machine that was booted so. */
  insecure: string | undefined;
  /** Why nothing may be changed, whatever it is. */
  degraded: string | undefined;
  /** Looks at the images that programs write in. */
  written(): Promise<WrittenImage[]>;
}

/** An image that programs write in: there is no digest of it. */
export interface WrittenImage {
  kind: 'volume' | 'enclave';
  name: string;
  owner: number;
  bytes: number;
  mounted: boolean;
  errors: number;
  problem?: string;
}

type Parts = IntegrityParts & { scrub: Scrub };

/** Whether images are what they were: asked at the start, now and then, and when somebody wants to know. */
export interface Integrity {
  tasks: AnyTask[];
  methods: Pick<Rooms, 'system.integrity' | 'system.scrub'>;
  status: {
    boot: BootPage;
    part: Rooms['status']['integrity'];
    notices: Rooms['status']['notices'];
  };
  /** The lines of `doctor`. */
  checks(): Promise<Check[]>;
  /** Looks at all images, before anything is mounted. */
  look(): Promise<void>;
  /** Hears of each change that begins. */
  began(kind: string, engine: Engine): void;
  phase(now: 'starting' | 'ready' | 'stopping'): void;
  stop(): Promise<void>;
}

/** Opens it over the rooms of personas and slots. */
export function openIntegrity(given: IntegrityParts): Integrity {
  const { personas, slots, settings, log, boot, insecure, degraded } = given;
  const { values } = settings;
  const scrub = new Scrub({
    room: personas,
    log,
    boot: bootId(),
    everyMs: values['integrity.scrub_days'] * 24 * 3_600_000,
    bytesPerSecond: values['integrity.scrub_rate'],
    others: async () =>
      (await given.written()).flatMap(({ kind, name, problem }) =>
        problem === undefined ? [] : [{ file: `${kind} ${name}`, problem }],
      ),
  });
  personas.witnesses.whenDamaged((file) => {
    letGo(personas, slots, file).catch((err: unknown) =>
      log.error({ err, file }, 'cannot let go of a damaged image'),
    );
  });
  const parts: Parts = { ...given, scrub };
  return {
    tasks: [scrubTask(scrub)],
    methods: integrityMethods(parts),
    status: {
      boot: bootPage(parts),
      part: () => statusPart(parts),
      notices: () => noticesOf(parts),
    },
    checks: async () => [
      bootCheck(boot, insecure),
      await imagesCheck(parts),
      ...(await enclavesCheck(parts)),
    ],
    async look() {
      const looked = personas.witnesses.lookAtAll(await keptFiles(personas), personas.now());
      log.debug({ ...looked }, 'looked at all images');
    },
    began(kind, engine) {
      if (isOfSlot(kind)) scrub.swapBegins(() => engine.open().some(runsInSlot));
    },
    phase(now) {
      if (now === 'stopping') scrub.stopping();
      // Not before callers are served: it reads for a long time.
      if (now !== 'ready' || degraded !== undefined) return;
      scrub.start().catch((err: unknown) => log.error({ err }, 'cannot begin to hash images'));
    },
    stop: () => scrub.stop(),
  };
}

const isOfSlot = (kind: string): boolean => kind.startsWith('slot.');

const runsInSlot = ({ kind, status }: ChangeView): boolean =>
  isOfSlot(kind) && status !== 'queued' && !isStuck(status);

/** Nothing that is mounted next goes on a damaged file: what was made ahead and what is kept mounted are let go. */
async function letGo(
  personas: PersonasRoom,
  { next, layers, book }: SlotRoom,
  file: string,
): Promise<void> {
  const damaged = (await keptFiles(personas)).find((one) => one.file === file);
  for (const { name } of book.slots()) await next.drop(name);
  for (const digest of damaged?.layers ?? []) await layers.forget(digest);
}

type BootPage = Answer<'system.integrity'>['boot'];
type Status = Answer<'daemon.status'>;
type FilePage = Answer<'system.integrity'>['files'][number];

/** Slots that show one of these layers now. */
function slotsOf({ slots }: Parts, { layers }: KeptFile) {
  return slots.book.slots().filter((slot) => {
    const shown = slots.book.current(slot)?.layers ?? [];
    return shown.some(({ digest }) => layers.includes(digest));
  });
}

function filePage(parts: Parts, kept: KeptFile, { caller }: Request): FilePage {
  const { file, digest, bytes, kind, bases, personas } = kept;
  const known = parts.personas.witnesses.get(file);
  const due = parts.scrub.isDue(file);
  const seen = slotsOf(parts, kept).filter(({ owner }) => [0, owner].includes(caller.uid));
  return {
    file,
    digest,
    bytes,
    kind,
    bases,
    personas,
    slots: seen.map(({ name }) => name),
    sealed: parts.personas.seals.get(file) !== undefined,
    state: known?.damage !== undefined ? 'damaged' : due ? 'due' : 'ok',
    ...(known?.hashed && { hashedMs: known.hashed.atMs }),
    ...(known?.damage && { problem: known.damage.problem, foundMs: known.damage.foundMs }),
  };
}

function integrityMethods(parts: Parts): Integrity['methods'] {
  const { personas, scrub, degraded } = parts;
  return {
    'system.integrity': async (_, request) => {
      const { round, nextMs } = scrub.state();
      const { looked } = personas.witnesses;
      const { uid } = request.caller;
      return {
        files: (await scrub.files()).map((kept) => filePage(parts, kept, request)),
        written: (await parts.written())
          .filter(({ owner }) => uid === 0 || uid === owner)
          .map(({ owner: _, ...page }) => page),
        ...(looked && { looked: { ...looked, tookMs: Math.round(looked.tookMs * 1000) / 1000 } }),
        ...(round && { scrub: round }),
        ...(nextMs === undefined ? {} : { nextMs }),
        boot: bootPage(parts),
      };
    },
    'system.scrub': async (_, { caller }) => {
      if (degraded !== undefined) throw new PersonaError('daemon-degraded', { reason: degraded });
      return { plan: await planScrub(scrub, caller.uid) };
    },
  };
}

function bootPage({ boot, insecure }: IntegrityParts): BootPage {
  return { ...boot, text: bootText(boot), ...(insecure && { refused: true }) };
}

/** Images on the status page. */
async function statusPart(parts: Parts): Promise<Status['integrity']> {
  const { personas, scrub } = parts;
  const files = await scrub.files();
  const hashed = files.map(({ file }) => personas.witnesses.get(file)?.hashed?.atMs);
  const oldest = hashed.includes(undefined) ? undefined : Math.min(...(hashed as number[]));
  const { round } = scrub.state();
  return {
    files: files.length,
    due: files.filter(({ file }) => scrub.isDue(file)).length,
    damaged: files.filter(({ file }) => personas.witnesses.problemOf(file) !== undefined).length,
    ...(oldest === undefined || files.length === 0 ? {} : { oldestMs: oldest }),
    ...(round && { scrub: round }),
  };
}

/** What a file is, in the words of those who use it. */
function nameOf({ kind, bases, personas, file }: KeptFile): string {
  const [base] = bases;
  if (base !== undefined) return `the image of base ${base}`;
  const [persona] = personas;
  const whose = persona === undefined ? 'that nothing uses' : `of persona ${persona}`;
  if (kind === 'persona') return `the file ${whose}`;
  return kind === 'original' ? `the original file ${whose}` : `a layer ${whose} (${file})`;
}

/** How to get the bytes back. */
function wayOut({ kind, bases, personas }: KeptFile): { text: string; command: string } {
  if (bases.length > 0)
    return {
      text: 'Import the same content again, under any free name',
      command: 'personactl base import NAME SOURCE',
    };
  const [persona = 'PERSONA'] = personas;
  if (kind === 'layer')
    return {
      text: 'Export the persona, remove it, import it again: the layer is then made anew',
      command: `personactl persona export ${persona}`,
    };
  return {
    text: 'Import the same file again, or remove the persona and import another copy',
    command: 'personactl persona import FILE',
  };
}

/** Every damaged file as something that wants a person. */
async function noticesOf(parts: Parts): Promise<Status['notices']> {
  const { witnesses } = parts.personas;
  if (!witnesses.anyDamaged) return [];
  return (await parts.scrub.files()).flatMap((kept) => {
    const problem = witnesses.problemOf(kept.file);
    if (problem === undefined) return [];
    const shown = slotsOf(parts, kept).map(({ name }) => name);
    const now = shown.length === 0 ? '' : `; shown now in ${shown.join(', ')}`;
    const mounted = kept.layers.length === 0 ? '' : ', and is not mounted any more';
    const { text, command } = wayOut(kept);
    return [
      {
        text: `${nameOf(kept)} is damaged (${problem})${mounted}${now}. ${text}`,
        command,
      },
    ];
  });
}

/** Enclaves of which something is wrong; volumes have lines of their own. */
async function enclavesCheck({ written }: IntegrityParts): Promise<Check[]> {
  return (await written()).flatMap(({ kind, name, problem }) =>
    kind === 'volume' || problem === undefined
      ? []
      : [
          {
            name: `enclave ${name}`,
            state: 'failed' as const,
            detail: problem,
            fix: '`personactl system integrity` shows it.',
          },
        ],
  );
}

async function imagesCheck(parts: Parts): Promise<Check> {
  const name = 'images';
  const files = await parts.scrub.files();
  const bad = files.filter(({ file }) => parts.personas.witnesses.problemOf(file) !== undefined);
  if (bad.length > 0)
    return {
      name,
      state: 'failed',
      detail: `${bad.length} of ${files.length} files are damaged`,
      fix: '`personactl status` says which, and how each comes back.',
    };
  const size = formatSize(files.reduce((sum, { bytes }) => sum + bytes, 0));
  const due = files.filter(({ file }) => parts.scrub.isDue(file)).length;
  const left = due === 0 ? 'all hashed as often as they should be' : `${due} to be hashed again`;
  return { name, state: 'ok', detail: `${files.length} files, ${size}, ${left}` };
}
